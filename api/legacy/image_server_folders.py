"""The older image server's folders, over our results, to browse and to download.

    /output/<patient>/scans/<scan>.nii.gz                        the label map
    /output/<patient>/voxels/<scan>/original/labels.nii.gz       the same
    /output/<patient>/voxels/<scan>/<label>.nii.gz               one label of it

The tree is made of the catalogue and the result folders; a name that is not in it leads nowhere.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from api.context import context
from api.legacy.image_server import Scan, check_label_map_name, find_scan, list_scans
from api.results import label_filter
from api.results.labels import LABEL_MAP_FILE, filter_label_map
from api.web.describe_route import ANY, GZIP, allows_unknown_names, answers, audits
from api.web.disclosed import note_disclosed
from api.web.file_responses import send_from
from api.web.paging import one_or_404
from api.web.responses import send_json_or_page
from minipacs.catalogue import Patient
from minipacs.errors import NotFound

blueprint = Blueprint("output_folders", __name__)
KINDS = ("nifti", "scans", "voxels")
"""The folders of a patient."""


class FolderEntryJson(TypedDict):
    """A line of a listing."""

    name: str
    address: str
    size: int | None
    changed: str


class FolderJson(TypedDict):
    """A folder of the tree."""

    path: str
    entries: list[FolderEntryJson]


@blueprint.get("/output/<path:where>")
@allows_unknown_names
@audits("download")
@answers(FolderJson, ANY, page="folder.html")
def browse_results(where: str) -> ResponseReturnValue:
    """A folder of the tree as a page (JSON for scripts), or a file of it."""
    patient_id, has_more, rest = split_patient_from_path(where.rstrip("/"))
    note_disclosed(patients=[patient_id])
    with context().database.reading() as session:
        one_or_404(session.get(Patient, patient_id), "patient", patient_id, "/patients")

    if not has_more:
        base = f"/output/{where.rstrip('/')}/"
        return send_folder_listing(where, [make_folder_entry(kind, f"{base}{kind}/") for kind in KINDS])

    kind, *names = [part for part in rest.split("/") if part]
    if kind == "scans":
        return browse_scans(patient_id, names, where)
    if kind == "voxels":
        return browse_voxels(patient_id, names, where)
    if names:
        raise NotFound("There is no such file.", "No source volumes are kept as NIfTI.")
    return send_folder_listing(where, [])


def split_patient_from_path(where: str) -> tuple[str, bool, str]:
    """(patient, whether more follows, the rest from its kind on): a PatientID may have slashes itself."""
    parts = where.split("/")
    for i in range(1, len(parts)):
        if parts[i] in KINDS:
            return "/".join(parts[:i]), True, "/".join(parts[i:])
    return where, False, ""


def browse_scans(patient_id: str, names: Sequence[str], where: str) -> ResponseReturnValue:
    """`scans/`: a label map each."""
    if len(names) == 1:
        check_label_map_name(names[0])
        return send_from(find_scan(patient_id, names[0]).folder, LABEL_MAP_FILE, download_name=names[0])
    if names:
        raise NotFound("There is no such file.", "GET the folder to see what there is.")

    base = f"/output/{patient_id}/scans/"
    label_maps = {f"{scan.name}.nii.gz": scan.label_map for scan in list_scans(patient_id)}
    return send_folder_listing(where, [make_file_entry(path, name, base + name) for name, path in label_maps.items()])


def browse_voxels(patient_id: str, names: Sequence[str], where: str) -> ResponseReturnValue:
    """`voxels/<scan>/`: one file a label, and the whole in `original/`."""
    base = f"/output/{patient_id}/voxels/"
    if not names:
        scans = list_scans(patient_id)
        return send_folder_listing(where, [make_folder_entry(scan.name, f"{base}{scan.name}/") for scan in scans])

    scan = find_scan(patient_id, names[0])
    here = f"{base}{names[0]}/"
    match names[1:]:
        case []:
            labels = label_filter.read_labels(scan.label_map)
            files = [f"{label_filter.label_file_stem(label.name)}.nii.gz" for label in labels]
            entries = [make_folder_entry(name, here + name) for name in ("original/", *files)]
            return send_folder_listing(where, [{**entry, "name": entry["name"].rstrip("/")} for entry in entries])
        case ["original"]:
            address = f"{here}original/{LABEL_MAP_FILE}"
            return send_folder_listing(where, [make_file_entry(scan.label_map, LABEL_MAP_FILE, address)])
        case ["original", filename]:
            check_label_map_name(filename)
            return send_from(scan.folder, LABEL_MAP_FILE, download_name=filename)
        case [filename]:
            check_label_map_name(filename)
            return send_one_label(scan, filename)
    raise NotFound("There is no such file.", "GET the folder to see what there is.")


def send_one_label(scan: Scan, filename: str) -> Response:
    """A label map of one label."""
    name = filename.removesuffix(".gz").removesuffix(".nii")
    ids = label_filter.parse_label_ids(name, label_filter.read_labels(scan.label_map))
    return Response(filter_label_map(scan.label_map, ids), mimetype=GZIP)


def make_folder_entry(name: str, address: str) -> FolderEntryJson:
    """A line for what is made when it is asked for."""
    return {"name": name, "address": address, "size": None, "changed": ""}


def make_file_entry(path: Path, name: str, address: str) -> FolderEntryJson:
    """A line for a file, with size and date."""
    try:
        stat = path.stat()
    except FileNotFoundError:  # its result is being replaced at this moment
        return make_folder_entry(name, address)
    changed = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(timespec="seconds")
    return {"name": name, "address": address, "size": stat.st_size, "changed": changed}


def send_folder_listing(where: str, entries: list[FolderEntryJson]) -> ResponseReturnValue:
    """The page of a folder, with breadcrumbs; JSON for scripts. An administrator may have closed it."""
    if not context().settings.browsing:
        raise NotFound("Folders are not shown here.", "Ask for a file by its address; GET /files lists them.")

    def page_values() -> dict[str, object]:
        crumbs, address = [], "/output/"
        for part in where.strip("/").split("/"):
            address += part + "/"
            crumbs.append((part, address))
        return {"crumbs": crumbs}

    return send_json_or_page(FolderJson(path=where, entries=entries), page_values)
