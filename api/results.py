"""Result files of segmentations: OUTPUT/results/<study>/<series>/<engine>/, each folder with its manifest."""

import json
from pathlib import Path
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue

from api.files import inside, send
from api.state import state
from minipacs.errors import NotFound
from minipacs.settings import Settings

blueprint = Blueprint("results", __name__)
MANIFEST = "manifest.json"


def root(settings: Settings) -> Path:
    """Where all results lie."""
    return settings.output / "results"


def of_study(settings: Settings, study_instance_uid: str) -> list[dict[str, Any]]:
    """The manifest of every result of a study, with the address of each file."""
    try:
        folder = inside(root(settings), study_instance_uid)
    except NotFound:
        return []
    found = []
    for path in sorted(folder.glob(f"*/*/{MANIFEST}")):
        series, engine = path.parts[-3], path.parts[-2]
        if series.startswith(".") or engine.startswith("."):
            continue
        try:
            manifest = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):  # being replaced at this moment
            continue
        address = f"/results/{study_instance_uid}/{series}/{engine}/"
        names = sorted({*manifest.get("files", []), MANIFEST})
        found.append({**manifest, "engine": engine, "addresses": {name: address + name for name in names}})
    return found


@blueprint.get("/studies/<study_instance_uid>/results")
def results(study_instance_uid: str) -> list[dict[str, Any]]:
    """The results of a study: what was made of what, by whom, and where the files are."""
    return of_study(state().settings, study_instance_uid)


@blueprint.get("/results/<path:relative>")
def result_file(relative: str) -> ResponseReturnValue:
    """A file of a result."""
    return send(root(state().settings), relative)
