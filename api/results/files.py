"""Result files of segmentations: OUTPUT/results/<study>/<series>/<engine>/, each folder with its manifest."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Literal, TypedDict, cast

from flask import Blueprint
from flask.typing import ResponseReturnValue

from api.context import AppContext, context
from api.results.result_folders import resolve_result_path, resolve_visible_path
from api.web.describe_route import ANY, QueryParameters, allow_extra_keys, answers, audits, takes_query
from api.web.file_responses import send_from
from minipacs.errors import BadRequest, EngineFailed, NotFound, Unreadable
from minipacs.result_paths import MANIFEST_FILE

blueprint = Blueprint("results", __name__)
LONGEST_S = 300
CONVERTING = threading.BoundedSemaphore(2)
"""Conversions at once, of each process: each takes a core and the segmentation's memory."""


@allow_extra_keys
class ResultJson(TypedDict):
    """The manifest of a result, and the address of each of its files."""

    series_instance_uid: str
    engine: str
    addresses: dict[str, str]


class SegTypeParameters(QueryParameters):
    """The form of DICOM SEG; as it is where none is named."""

    type: Literal["", "BINARY", "LABELMAP"] = ""
    """Segmentation Type (0062,0001); empty for the file as it is."""


@blueprint.get("/studies/<study_instance_uid>/results")
@answers(list[ResultJson])
def results_of_study(study_instance_uid: str) -> list[ResultJson]:
    """The results of a study: what was made of what, by whom, and where the files are."""
    return read_results(context(), study_instance_uid)


@blueprint.get("/results/<path:relative>")
@audits("download")
@takes_query(SegTypeParameters)
@answers(ANY)
def result_file(query: SegTypeParameters, relative: str) -> ResponseReturnValue:
    """A file of a result; `seg.dcm?type=BINARY` or `LABELMAP` in the other form of DICOM SEG, made when asked first."""
    path = resolve_result_path(relative)
    if not query.type:
        return send_from(path.parent, path.name)
    if not relative.endswith("/seg.dcm"):
        raise BadRequest("Only a seg.dcm has a type, BINARY or LABELMAP.", "Leave `type` out for other files.")

    other_form = convert_seg(path.parent, query.type)
    return send_from(other_form.parent, other_form.name, download_name=f"seg-{query.type.lower()}.dcm")


def read_results(context: AppContext, study_instance_uid: str) -> list[ResultJson]:
    """The manifest of every result of a study, with the address of each file."""
    try:
        folder = resolve_visible_path(context, study_instance_uid)
    except NotFound:
        return []

    found: list[ResultJson] = []
    for path in sorted(folder.glob(f"*/*/{MANIFEST_FILE}")):
        series, engine = path.parts[-3], path.parts[-2]
        if series.startswith(".") or engine.startswith("."):
            continue
        try:
            manifest = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):  # being replaced at this moment
            continue

        address = f"/results/{study_instance_uid}/{series}/{engine}/"
        names = sorted({*manifest.get("files", []), MANIFEST_FILE})
        addresses = {name: address + name for name in names}
        found.append(cast(ResultJson, {**manifest, "engine": engine, "addresses": addresses}))
    return found


def convert_seg(folder: Path, segmentation_type: str) -> Path:
    """The SEG of a result in this form, by a process of the segmentation box: nothing of it is imported here."""
    made = folder / f"seg-{segmentation_type.lower()}.dcm"
    if made.is_file():
        return made

    command = [sys.executable, "-m", "segmentation.results.convert_seg", str(folder), segmentation_type]
    with context().wait_limits.wait_for("converted segmentations"), CONVERTING:
        if made.is_file():
            return made
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise EngineFailed("Converting the segmentation took too long.", "Ask for it as it is.") from error
    if done.returncode != 0:
        raise Unreadable("The segmentation could not be converted.", "Ask for it as it is, without `type`.")
    return Path(done.stdout.strip().splitlines()[-1])
