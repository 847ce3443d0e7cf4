"""Result files of segmentations: OUTPUT/results/<study>/<series>/<engine>/, each folder with its manifest."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from api.context import context
from api.web.file_responses import inside, send
from minipacs.errors import BadRequest, EngineFailed, NotFound, Unreadable
from minipacs.settings import Settings

blueprint = Blueprint("results", __name__)
MANIFEST = "manifest.json"
LONGEST_S = 300
CONVERTING = threading.BoundedSemaphore(2)
"""Conversions at once, of each process: each takes a core and the segmentation's memory."""


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
    return of_study(context().settings, study_instance_uid)


@blueprint.get("/results/<path:relative>")
def result_file(relative: str) -> ResponseReturnValue:
    """A file of a result; `seg.dcm?type=BINARY` or `LABELMAP` in the other form of DICOM SEG, made when asked first."""
    kind = request.args.get("type", "")
    if not kind:
        return send(root(context().settings), relative)
    if kind not in ("BINARY", "LABELMAP") or not relative.endswith("/seg.dcm"):
        raise BadRequest("Only a seg.dcm has a type, BINARY or LABELMAP.", "Leave `type` out for other files.")
    made = converted(inside(root(context().settings), relative).parent, kind)
    return send(made.parent, made.name, download_name=f"seg-{kind.lower()}.dcm")


def converted(folder: Path, kind: str) -> Path:
    """The SEG of a result in this form, by a process of the segmentation box: nothing of it is imported here."""
    command = [sys.executable, "-m", "segmentation.results.convert_seg", str(folder), kind]
    with CONVERTING:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise EngineFailed("Converting the segmentation took too long.", "Ask for it as it is.") from error
    if done.returncode != 0:
        raise Unreadable("The segmentation could not be converted.", "Ask for it as it is, without `type`.")
    return Path(done.stdout.strip().splitlines()[-1])
