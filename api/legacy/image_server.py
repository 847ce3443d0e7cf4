"""The older image server's addresses, over our results: browse, label tables, label maps with chosen labels.

    /output/<patient>/scans/<scan>.nii.gz                        the label map
    /output/<patient>/voxels/<scan>/original/labels.nii.gz       the same, and …/labels its table
    /output/<patient>/voxels/<scan>/<label>.nii.gz               one label of it
    /filtered-scans/<patient>/<scan>.nii.gz?label_ids=1,2        with these labels alone

A scan is a segmented series: `<SeriesInstanceUID>_<engine>`. The tree is made of the catalogue and the
result folders; a name that is not in it leads nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, make_response, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from api.catalogue import patients
from api.context import context
from api.results import files, label_filter
from api.web.file_responses import inside, send
from api.web.responses import wants_page
from minipacs.catalogue import Study
from minipacs.errors import BadRequest, NotFound

blueprint = Blueprint("output", __name__)
KINDS = ("nifti", "scans", "voxels")
MAP = "labels.nii.gz"


@dataclass(frozen=True)
class Scan:
    """A segmented series of a patient."""

    name: str
    folder: Path

    @property
    def map(self) -> Path:
        """Its label map."""
        return self.folder / MAP


def scans(patient_id: str) -> list[Scan]:
    """The patient's segmented series that have a label map."""
    with context().database.reading() as session:
        key = patients.found(session, patient_id).patient_key
        uids = list(session.scalars(select(Study.study_instance_uid).where(Study.patient_key == key)))
    root = files.root(context().settings)
    found = []
    for uid in uids:
        for result in files.of_study(context().settings, uid):
            folder = root / uid / result["series_instance_uid"] / result["engine"]
            if (folder / MAP).is_file():
                found.append(Scan(f"{result['series_instance_uid']}_{result['engine']}", folder))
    return found


def scan(patient_id: str, name: str) -> Scan:
    """The scan of this name: whole, without engine, or `labels` where there is one alone."""
    there = scans(patient_id)
    short = name.removesuffix(".gz").removesuffix(".nii")
    for one in there:
        if short in (one.name, one.name.rpartition("_")[0]) or (short == "labels" and len(there) == 1):
            return one
    raise NotFound(f"There is no scan {name!r} of this patient.", f"There are {', '.join(s.name for s in there)}.")


@blueprint.get("/filtered-scans/<path:patient_id>/voxels/<scan_name>/original/<filename>")
def filtered_voxels(patient_id: str, scan_name: str, filename: str) -> Response:
    """The label map with the labels of `?label_ids=1,2,3` alone."""
    is_map(filename)
    return filtered(scan(patient_id, scan_name).map, f"filtered_voxels_{filename}")


@blueprint.get("/filtered-scans/<path:patient_id>/<filename>")
def filtered_scan(patient_id: str, filename: str) -> Response:
    """The label map with the labels of `?label_ids=1,2,3` alone."""
    return filtered(scan(patient_id, is_map(filename)).map, f"filtered_{filename}")


@blueprint.get("/output/<path:patient_id>/voxels/<scan_name>/original/<filename>/labels")
def label_table(patient_id: str, scan_name: str, filename: str) -> dict[str, Any]:
    """The labels of a label map: `{"labels": [{"id", "name"}], "voxel_filename"}`."""
    is_map(filename)
    return table_of(scan(patient_id, scan_name).map)


@blueprint.get("/studies/<study>/results/<series>/<engine>/labels")
def labels_of_result(study: str, series: str, engine: str) -> dict[str, Any]:
    """The labels of a result."""
    return table_of(map_of(study, series, engine))


@blueprint.get("/studies/<study>/results/<series>/<engine>/labels.nii.gz")
def filtered_result(study: str, series: str, engine: str) -> Response:
    """The label map of a result; `?labels=lung left,3` keeps those alone, by name or number."""
    path = map_of(study, series, engine)
    if "labels" not in request.args and "label_ids" not in request.args:
        return send(path.parent, MAP)
    return filtered(path, MAP)


def map_of(study: str, series: str, engine: str) -> Path:
    """The label map of a result."""
    return inside(files.root(context().settings), f"{study}/{series}/{engine}/{MAP}")


def table_of(path: Path) -> dict[str, Any]:
    """A label table as the older image server answered it."""
    return {"labels": [label.as_json() for label in label_filter.table(path)], "voxel_filename": path.name}


def is_map(filename: str) -> str:
    """A name that can be a label map's; anything else is a `BadRequest`."""
    if not filename.endswith((".nii.gz", ".nii")):
        raise BadRequest(f"{filename!r} is not a label map.", "Label maps end in .nii.gz.")
    return filename


def filtered(path: Path, name: str) -> Response:
    """The label map with the labels of the query alone; the same again comes from memory."""
    wanted = request.args.get("label_ids", request.args.get("labels", ""))
    ids = label_filter.choose(wanted, label_filter.table(path))
    stat = path.stat()
    etag = sha256(repr((str(path), stat.st_mtime_ns, stat.st_size, ids)).encode()).hexdigest()[:32]
    if request.if_none_match.contains(etag):
        response = Response(status=304)
    else:
        memory: label_filter.Kept = current_app.extensions.setdefault("minipacs_labels", label_filter.Kept())
        response = make_response(memory.filtered(path, ids))
        response.mimetype = "application/gzip"
        response.headers["Content-Disposition"] = f'attachment; filename="{label_filter.plain(name)}.nii.gz"'
    response.set_etag(etag)
    response.headers["Cache-Control"] = "private, no-cache"
    if response.status_code == 200:
        response.make_conditional(request.environ, accept_ranges=True, complete_length=response.content_length)
    return response


@dataclass(frozen=True)
class Entry:
    """A line of a listing."""

    name: str
    address: str
    size: int | None = None
    changed: str = ""


@blueprint.get("/output/<path:where>")
def browse(where: str) -> ResponseReturnValue:
    """A folder of the tree as a page (JSON for scripts), or a file of it."""
    head, sep, tail = split(where.rstrip("/"))
    with context().database.reading() as session:
        patients.found(session, head)
    if not sep:
        return listing(where, [Entry(kind, f"/output/{where.rstrip('/')}/{kind}/") for kind in KINDS])
    parts = [part for part in tail.split("/") if part]
    kind = parts[0]
    if kind == "scans":
        return scans_folder(head, parts[1:], where)
    if kind == "voxels":
        return voxels_folder(head, parts[1:], where)
    if parts[1:]:
        raise NotFound("There is no such file.", "No source volumes are kept as NIfTI.")
    return listing(where, [])


def split(where: str) -> tuple[str, str, str]:
    """(patient, `/` if more follows, the rest from its kind on): a PatientID may have slashes itself."""
    parts = where.split("/")
    for i in range(1, len(parts)):
        if parts[i] in KINDS:
            return "/".join(parts[:i]), "/", "/".join(parts[i:])
    return where, "", ""


def scans_folder(patient_id: str, rest: Sequence[str], where: str) -> ResponseReturnValue:
    """`scans/`: a label map each."""
    if len(rest) == 1:
        return send(scan(patient_id, is_map(rest[0])).folder, MAP, download_name=rest[0])
    if rest:
        raise NotFound("There is no such file.", "GET the folder to see what there is.")
    base = f"/output/{patient_id}/scans/"
    return listing(where, [entry(s.map, f"{s.name}.nii.gz", f"{base}{s.name}.nii.gz") for s in scans(patient_id)])


def voxels_folder(patient_id: str, rest: Sequence[str], where: str) -> ResponseReturnValue:
    """`voxels/<scan>/`: one file a label, and the whole in `original/`."""
    base = f"/output/{patient_id}/voxels/"
    if not rest:
        return listing(where, [Entry(s.name, f"{base}{s.name}/") for s in scans(patient_id)])
    one = scan(patient_id, rest[0])
    here = f"{base}{rest[0]}/"
    if len(rest) == 1:
        ones = [
            Entry(f"{label_filter.plain(label.name)}.nii.gz", f"{here}{label_filter.plain(label.name)}.nii.gz")
            for label in label_filter.table(one.map)
        ]
        return listing(where, [Entry("original", f"{here}original/"), *ones])
    if list(rest[1:]) == ["original"]:
        return listing(where, [entry(one.map, MAP, f"{here}original/{MAP}")])
    if len(rest) == 3 and rest[1] == "original":
        is_map(rest[2])
        return send(one.folder, MAP, download_name=rest[2])
    if len(rest) == 2:
        is_map(rest[1])
        return one_label(one, rest[1])
    raise NotFound("There is no such file.", "GET the folder to see what there is.")


def one_label(one: Scan, filename: str) -> Response:
    """A label map of one label."""
    name = filename.removesuffix(".gz").removesuffix(".nii")
    ids = label_filter.choose(name, label_filter.table(one.map))
    memory: label_filter.Kept = current_app.extensions.setdefault("minipacs_labels", label_filter.Kept())
    return Response(memory.filtered(one.map, ids), mimetype="application/gzip")


def entry(path: Path, name: str, address: str) -> Entry:
    """A line for a file, with size and date."""
    stat = path.stat()
    return Entry(name, address, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(timespec="seconds"))


def listing(where: str, entries: list[Entry]) -> ResponseReturnValue:
    """The page of a folder, with breadcrumbs; JSON for scripts. An administrator may have closed it."""
    if not context().settings.browsing:
        raise NotFound("Folders are not shown here.", "Ask for a file by its address; GET /files lists them.")
    crumbs, address = [], "/output/"
    for part in where.strip("/").split("/"):
        address += part + "/"
        crumbs.append((part, address))
    if wants_page():
        return render_template("folder.html", crumbs=crumbs, entries=entries)
    return {"path": where, "entries": [vars(e) for e in entries]}
