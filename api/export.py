"""The data set as a table: a row for each picture, streamed as CSV."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, request
from sqlalchemy import Select, select

from api import describe, listing
from api.audit import safe
from api.state import State, state
from minipacs.catalogue import Instance, Rendering, Series, Study

blueprint = Blueprint("export", __name__)
FILTERS = {
    "split": listing.equals(Rendering.split),
    "modality": listing.equals(Series.modality),
    "PatientID": listing.equals(Study.patient_key),
    "StudyInstanceUID": listing.equals(Study.study_instance_uid),
    "SeriesInstanceUID": listing.equals(Series.series_instance_uid),
    "BodyPartExamined": listing.equals(Series.body_part_examined),
    "from": listing.on_or_after(Study.study_date),
    "to": listing.on_or_before(Study.study_date),
}
COLUMNS: tuple[Any, ...] = (
    Rendering.rendering_id, Rendering.split, Rendering.frame_number, Rendering.bit_depth, Rendering.window_center,
    Rendering.window_width, Rendering.window_source, Rendering.rescale_slope, Rendering.rescale_intercept,
    Rendering.sha256, Instance.sop_instance_uid, Instance.instance_number, Instance.rows, Instance.columns,
    Series.series_instance_uid, Series.modality, Series.body_part_examined, Series.series_description,
    Study.study_instance_uid, Study.study_date, Study.study_description, Study.patient_key,
)  # fmt: skip
BATCH = 2000


@blueprint.get("/export.csv")
def export() -> Response:
    """Every picture that matches, with what it shows and the split it belongs to; no names of persons."""
    chosen: Select[Any] = (
        select(*COLUMNS)
        .join(Instance, Instance.sop_instance_uid == Rendering.sop_instance_uid)
        .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        .join(Study, Study.study_instance_uid == Series.study_instance_uid)
    )
    statement = listing.filtered(chosen, FILTERS, {k: v for k, v in request.args.items() if k != "limit"})
    response = Response(rows(state(), statement), mimetype="text/csv")
    response.headers["Content-Disposition"] = 'attachment; filename="minipacs.csv"'
    return response


def rows(at: State, statement: Any) -> Iterator[str]:
    """CSV (RFC 4180), a batch at a time, in the order of the pictures' identifiers."""
    names = [describe.key(column.property.columns[0]) for column in COLUMNS]
    yield _lines([["filename", *names[1:]]])
    after = ""
    while True:
        with at.database.reading() as session:
            page = statement.where(Rendering.rendering_id > after).order_by(Rendering.rendering_id).limit(BATCH)
            found = session.execute(page).all()
        if not found:
            return
        after = found[-1][0]
        yield _lines([[f"{row[0]}.png", *(safe(describe.plain(value)) for value in row[1:])] for row in found])


def _lines(table: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(table)
    return text.getvalue()
