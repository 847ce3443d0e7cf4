"""A segmentation in the browser: its surfaces by three.js, its label map over the images by NiiVue; both from npm."""

from pathlib import Path

from flask import Blueprint, Response

from api.context import context
from api.results import label_filter, source_nifti
from api.results.labels import find_label_map
from api.web.describe_route import GZIP, answers
from api.web.file_responses import send_from
from api.web.responses import render_page
from minipacs.errors import NotFound
from minipacs.settings import ROOT

blueprint = Blueprint("scene", __name__)
THREE = ROOT / "node_modules" / "three"
NIIVUE = ROOT / "node_modules" / "@niivue" / "niivue" / "dist"
SERVED = ("build/", "examples/jsm/")


@blueprint.get("/studies/<study>/3d/<series>/<engine>")
@answers(page="scene.html")
def surfaces_page(study: str, series: str, engine: str) -> str:
    """The page: a canvas, and a switch for each segment."""
    path = find_label_map(study, series, engine)
    model = f"/results/{study}/{series}/{engine}/model.glb"
    if not path.with_name("model.glb").is_file():
        raise NotFound("This result has no surfaces.", "Its files are on the study's page.")
    labels = label_filter.read_labels(path)
    return render_page({"study": study, "engine": engine, "model": model, "labels": labels})


@blueprint.get("/studies/<study>/overlay/<series>/<engine>")
@answers(page="overlay.html")
def overlay_page(study: str, series: str, engine: str) -> str:
    """The page: slices in three planes with the labels over them."""
    path = find_label_map(study, series, engine)
    base = f"/studies/{study}/results/{series}/{engine}"
    shown = [{**label.as_json(), "color": label.color} for label in label_filter.read_labels(path)]
    what = {"map": f"{base}/labels.nii.gz", "source": f"{base}/source.nii.gz", "labels": shown}
    return render_page({"study": study, "engine": engine, "what": what, "labels": shown})


@blueprint.get("/studies/<study>/results/<series>/<engine>/source.nii.gz")
@answers(GZIP)
def source_nifti_of_result(study: str, series: str, engine: str) -> Response:
    """The images of a result as NIfTI, on the grid of its label map."""
    path = find_label_map(study, series, engine)
    file = source_nifti.ensure_source_nifti(context(), path, path.parent.parent.name)
    return send_from(file.parent, file.name)


@blueprint.get("/library/niivue/<path:name>")
def niivue_module(name: str) -> Response:
    """NiiVue's bundle."""
    return send_module(NIIVUE, name, ("index.js",))


@blueprint.get("/library/three/<path:name>")
def three_module(name: str) -> Response:
    """A module of three.js."""
    return send_module(THREE, name, SERVED)


def send_module(folder: Path, name: str, served: tuple[str, ...]) -> Response:
    """A file of an npm package."""
    if not name.startswith(served) or not folder.is_dir():
        raise NotFound("There is no such module.", "Run scripts/up to fetch what the pages need.")
    response = send_from(folder, name)
    response.headers["Cache-Control"] = "private, max-age=86400"
    return response
