"""Label maps of results: their labels, and the map with some labels alone."""

from hashlib import sha256
from pathlib import Path
from typing import TypedDict

from flask import Blueprint, Response, make_response, request

from api.context import context
from api.results import label_filter
from api.results.result_folders import resolve_result_path
from api.web.describe_route import GZIP, QueryParameters, answers, audits, takes_query
from api.web.file_responses import send_from

blueprint = Blueprint("labels", __name__)
LABEL_MAP_FILE = "labels.nii.gz"


class LabelJson(TypedDict):
    """A value of a label map, and its name."""

    id: int
    name: str


class LabelTable(TypedDict):
    """The labels of a label map, as the older image server answered them."""

    labels: list[LabelJson]
    voxel_filename: str


class LabelParameters(QueryParameters):
    """The labels that stay, by name or number, with commas between them."""

    labels: str | None = None
    """Labels that stay: numbers or names, with commas between them."""
    label_ids: str | None = None
    """The older image server's word for the same; counts where both are given."""


@blueprint.get("/studies/<study>/results/<series>/<engine>/labels")
@answers(LabelTable)
def labels_of_result(study: str, series: str, engine: str) -> LabelTable:
    """The labels of a result."""
    return read_label_table(find_label_map(study, series, engine))


@blueprint.get("/studies/<study>/results/<series>/<engine>/labels.nii.gz")
@audits("download")
@takes_query(LabelParameters)
@answers(GZIP)
def label_map_of_result(query: LabelParameters, study: str, series: str, engine: str) -> Response:
    """The label map of a result; `?labels=lung left,3` keeps those alone, by name or number."""
    path = find_label_map(study, series, engine)
    chosen = query.labels if query.label_ids is None else query.label_ids
    if chosen is None:
        return send_from(path.parent, LABEL_MAP_FILE)
    return send_filtered_label_map(path, LABEL_MAP_FILE, chosen)


def find_label_map(study: str, series: str, engine: str) -> Path:
    """The label map of a result."""
    return resolve_result_path(f"{study}/{series}/{engine}/{LABEL_MAP_FILE}")


def read_label_table(path: Path) -> LabelTable:
    """The labels of a label map."""
    labels = [LabelJson(id=label.id, name=label.name) for label in label_filter.read_labels(path)]
    return {"labels": labels, "voxel_filename": path.name}


def send_filtered_label_map(path: Path, name: str, chosen: str) -> Response:
    """The label map with the chosen labels alone; the same again comes from memory."""
    ids = label_filter.parse_label_ids(chosen, label_filter.read_labels(path))
    stat = path.stat()
    etag = sha256(repr((str(path), stat.st_mtime_ns, stat.st_size, ids)).encode()).hexdigest()[:32]

    if request.if_none_match.contains(etag):
        response = Response(status=304)
    else:
        response = make_response(filter_label_map(path, ids))
        response.mimetype = GZIP
        response.headers["Content-Disposition"] = f'attachment; filename="{label_filter.label_file_stem(name)}.nii.gz"'

    response.set_etag(etag)
    response.headers["Cache-Control"] = "private, no-cache"
    if response.status_code == 200:
        response.make_conditional(request.environ, accept_ranges=True, complete_length=response.content_length)
    return response


def filter_label_map(path: Path, ids: tuple[int, ...]) -> bytes:
    """The label map with these labels alone, packed; what was filtered of late comes from memory."""
    return context().filtered_label_maps.get(path, ids)
