"""The 3-D view of a segmentation: its GLB in the browser, by three.js from npm."""

from flask import Blueprint, Response, render_template
from flask.typing import ResponseReturnValue

from api import labels, output
from api.files import send
from minipacs.errors import NotFound
from minipacs.settings import ROOT

blueprint = Blueprint("scene", __name__)
THREE = ROOT / "node_modules" / "three"
SERVED = ("build/", "examples/jsm/")


@blueprint.get("/studies/<study>/3d/<series>/<engine>")
def view(study: str, series: str, engine: str) -> ResponseReturnValue:
    """The page: a canvas, and a switch for each segment."""
    path = output.map_of(study, series, engine)
    model = f"/results/{study}/{series}/{engine}/model.glb"
    if not path.with_name("model.glb").is_file():
        raise NotFound("This result has no surfaces.", "Its files are on the study's page.")
    return render_template("scene.html", study=study, engine=engine, model=model, labels=labels.table(path))


@blueprint.get("/library/three/<path:name>")
def library(name: str) -> Response:
    """A module of three.js."""
    if not name.startswith(SERVED) or not THREE.is_dir():
        raise NotFound("There is no such module.", "Run scripts/up to fetch what the pages need.")
    response = send(THREE, name)
    response.headers["Cache-Control"] = "private, max-age=86400"
    return response
