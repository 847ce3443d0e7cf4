"""The older image server's addresses, over our results: label tables, and label maps with chosen labels.

    /filtered-scans/<patient>/<scan>.nii.gz?label_ids=1,2               the label map with these labels alone
    /output/<patient>/voxels/<scan>/original/labels.nii.gz/labels       its labels, as a table

A scan is a segmented series: `<SeriesInstanceUID>_<engine>`. `image_server_folders` has the folders to browse.
"""

from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response
from msgspec import Struct
from sqlalchemy import select

from api.context import context
from api.results import files
from api.results.labels import LABEL_MAP_FILE, LabelTable, read_label_table, send_filtered_label_map
from api.results.result_folders import resolve_result_path
from api.web.describe_route import GZIP, allows_unknown_names, answers, audits, takes_query
from api.web.paging import one_or_404
from minipacs.catalogue import Patient, Study
from minipacs.errors import BadRequest, NotFound

blueprint = Blueprint("output", __name__)


@dataclass(frozen=True)
class Scan:
    """A segmented series of a patient."""

    name: str
    folder: Path

    @property
    def label_map(self) -> Path:
        """Its label map."""
        return self.folder / LABEL_MAP_FILE


def list_scans(patient_id: str) -> list[Scan]:
    """The patient's segmented series that have a label map."""
    with context().database.reading() as session:
        key = one_or_404(session.get(Patient, patient_id), "patient", patient_id, "/patients").patient_key
        uids = list(session.scalars(select(Study.study_instance_uid).where(Study.patient_key == key)))
    found = []
    for uid in uids:
        for result in files.read_results(context(), uid):
            folder = resolve_result_path(f"{uid}/{result['series_instance_uid']}/{result['engine']}")
            if (folder / LABEL_MAP_FILE).is_file():
                found.append(Scan(f"{result['series_instance_uid']}_{result['engine']}", folder))
    return found


def find_scan(patient_id: str, name: str) -> Scan:
    """The scan of this name: whole, without engine, or `labels` where there is one alone."""
    known = list_scans(patient_id)
    short = name.removesuffix(".gz").removesuffix(".nii")
    for one in known:
        if short in (one.name, one.name.rpartition("_")[0]) or (short == "labels" and len(known) == 1):
            return one
    raise NotFound(f"There is no scan {name!r} of this patient.", f"There are {', '.join(s.name for s in known)}.")


class LabelIdParameters(Struct):
    """The labels that stay, by number or name, with commas between them."""

    label_ids: str = ""
    """Labels that stay: numbers or names, with commas between them."""
    labels: str = ""
    """The newer routes' word for the same."""


@blueprint.get("/filtered-scans/<path:patient_id>/voxels/<scan_name>/original/<filename>")
@allows_unknown_names
@audits("download")
@takes_query(LabelIdParameters)
@answers(GZIP)
def filtered_voxels(query: LabelIdParameters, patient_id: str, scan_name: str, filename: str) -> Response:
    """The label map with the labels of `?label_ids=1,2,3` alone."""
    check_label_map_name(filename)
    scan = find_scan(patient_id, scan_name)
    return send_filtered_label_map(scan.label_map, f"filtered_voxels_{filename}", query.label_ids or query.labels)


@blueprint.get("/filtered-scans/<path:patient_id>/<filename>")
@allows_unknown_names
@audits("download")
@takes_query(LabelIdParameters)
@answers(GZIP)
def filtered_scan(query: LabelIdParameters, patient_id: str, filename: str) -> Response:
    """The label map with the labels of `?label_ids=1,2,3` alone."""
    check_label_map_name(filename)
    scan = find_scan(patient_id, filename)
    return send_filtered_label_map(scan.label_map, f"filtered_{filename}", query.label_ids or query.labels)


@blueprint.get("/output/<path:patient_id>/voxels/<scan_name>/original/<filename>/labels")
@allows_unknown_names
@answers(LabelTable)
def labels_of_scan(patient_id: str, scan_name: str, filename: str) -> LabelTable:
    """The labels of a label map: `{"labels": [{"id", "name"}], "voxel_filename"}`."""
    check_label_map_name(filename)
    return read_label_table(find_scan(patient_id, scan_name).label_map)


def check_label_map_name(filename: str) -> None:
    """Raise `BadRequest` for a name that cannot be a label map's."""
    if not filename.endswith((".nii.gz", ".nii")):
        raise BadRequest(f"{filename!r} is not a label map.", "Label maps end in .nii.gz.")
