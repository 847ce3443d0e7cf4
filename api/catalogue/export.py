"""The data set as a table: a row for each picture, streamed as CSV or Parquet."""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, TypedDict

from flask import Blueprint, Response
from sqlalchemy import Select, func, select

from api.context import AppContext, context
from api.web import paging
from api.web.csv import escape_formula, format_csv_rows
from api.web.describe_route import CSV, QueryParameters, answers, audits, discloses_nothing, takes_query
from api.web.disclosed import Disclosure, stream_disclosure
from api.web.paging import apply_filters, make_filter_parameters, read_given_filters
from api.web.row_json import json_key, to_json_value
from api.web.zip_stream import PieceBuffer
from minipacs.catalogue import Instance, Rendering, Series, Study

blueprint = Blueprint("export", __name__)
FILTERS = {
    "split": paging.equals(Rendering.split),
    "modality": paging.equals(Series.modality),
    "PatientID": paging.equals(Study.patient_key),
    "StudyInstanceUID": paging.equals(Study.study_instance_uid),
    "SeriesInstanceUID": paging.equals(Series.series_instance_uid),
    "BodyPartExamined": paging.equals(Series.body_part_examined),
    "from": paging.on_or_after(Study.study_date),
    "to": paging.on_or_before(Study.study_date),
}
COLUMNS: tuple[Any, ...] = (
    Rendering.rendering_id, Rendering.split, Rendering.frame_number, Rendering.bit_depth, Rendering.window_center,
    Rendering.window_width, Rendering.window_source, Rendering.rescale_slope, Rendering.rescale_intercept,
    Rendering.sha256, Instance.sop_instance_uid, Instance.instance_number, Instance.rows, Instance.columns,
    Series.series_instance_uid, Series.modality, Series.body_part_examined, Series.series_description,
    Study.study_instance_uid, Study.study_date, Study.study_description, Study.patient_key,
)  # fmt: skip
BATCH = 2000
PARQUET = "application/vnd.apache.parquet"
ExportParameters = make_filter_parameters("ExportParameters", FILTERS, QueryParameters)
PERIOD = {name: FILTERS[name] for name in ("from", "to")}
PeriodParameters = make_filter_parameters("PeriodParameters", PERIOD, QueryParameters)


class TotalsOfModality(TypedDict):
    """How many there are of one modality."""

    modality: str | None
    studies: int
    series: int
    images: int


class TotalsByModality(TypedDict):
    """How many there are of each modality."""

    modalities: list[TotalsOfModality]


@blueprint.get("/export.csv")
@audits("export")
@takes_query(ExportParameters)
@answers(CSV)
def export_csv(query: QueryParameters) -> Response:
    """Every picture that matches, with what it shows and the split it belongs to; no names of persons."""
    response = Response(stream_csv(read_batches(context(), select_pictures(query), stream_disclosure())), mimetype=CSV)
    response.headers["Content-Disposition"] = 'attachment; filename="minipacs.csv"'
    return response


@blueprint.get("/export.parquet")
@audits("export")
@takes_query(ExportParameters)
@answers(PARQUET)
def export_parquet(query: QueryParameters) -> Response:
    """The same as Parquet, with the types of the catalogue's columns; a row group for each batch."""
    response = Response(
        stream_parquet(read_batches(context(), select_pictures(query), stream_disclosure())), mimetype=PARQUET
    )
    response.headers["Content-Disposition"] = 'attachment; filename="minipacs.parquet"'
    return response


def select_pictures(query: QueryParameters) -> Select[Any]:
    """The pictures that a request asks for."""
    joined: Select[Any] = (
        select(*COLUMNS)
        .join(Instance, Instance.instance_key == Rendering.instance_key)
        .join(Series, Series.series_key == Instance.series_key)
        .join(Study, Study.study_key == Series.study_key)
    )
    return apply_filters(joined, FILTERS, read_given_filters(query))


def list_column_names() -> list[str]:
    """The table's columns: the picture's file name, then as everywhere."""
    return ["filename", *(json_key(column.property.columns[0]) for column in COLUMNS[1:])]


def read_batches(context: AppContext, statement: Any, disclosure: Disclosure) -> Iterator[list[list[Any]]]:
    """Rows, a batch at a time, in the order of the pictures' identifiers; no session stays open between them.

    `disclosure` gets the studies of the rows.
    """
    study = list_column_names().index("StudyInstanceUID")
    after = ""
    while True:
        with context.database.reading() as session:
            page = statement.where(Rendering.rendering_id > after).order_by(Rendering.rendering_id).limit(BATCH)
            found = session.execute(page).all()
        if not found:
            return
        after = found[-1][0]
        disclosure.add((row[study] for row in found), rows=len(found))
        yield [[f"{row[0]}.png", *row[1:]] for row in found]


def stream_csv(tables: Iterable[list[list[Any]]]) -> Iterator[str]:
    """CSV (RFC 4180)."""
    yield format_csv_rows([list_column_names()])
    for table in tables:
        yield format_csv_rows([row[0], *(escape_formula(to_json_value(value)) for value in row[1:])] for row in table)


def stream_parquet(tables: Iterable[list[list[Any]]]) -> Iterator[bytes]:
    """Parquet, as it is made; nothing is written to disk."""
    import pyarrow
    from pyarrow import parquet as files

    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), date: pyarrow.date32(), bool: pyarrow.bool_()}
    types = [kinds.get(column.type.python_type, pyarrow.string()) for column in COLUMNS]
    schema = pyarrow.schema(list(zip(list_column_names(), types, strict=True)))
    buffer = PieceBuffer()
    with files.ParquetWriter(pyarrow.PythonFile(buffer, mode="w"), schema) as writer:
        for table in tables:
            columns = zip(*table, strict=True)
            arrays = [pyarrow.array(column, kind) for column, kind in zip(columns, types, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            yield buffer.take()
    yield buffer.take()


@blueprint.get("/totals")
@discloses_nothing
@takes_query(PeriodParameters)
@answers(TotalsByModality)
def totals_by_modality(query: QueryParameters) -> TotalsByModality:
    """How many studies, series and instances there are of each modality (`?from=`, `?to=` by study date)."""
    grouped: Any = (
        select(
            Series.modality,
            func.count(Series.study_key.distinct()),
            func.count(),
            func.sum(Series.number_of_series_related_instances),
        )
        .join(Study, Study.study_key == Series.study_key)
        .group_by(Series.modality)
        .order_by(Series.modality)
    )
    chosen = apply_filters(grouped, PERIOD, read_given_filters(query))

    with context().database.reading() as session:
        found = session.execute(chosen).all()
    return {
        "modalities": [
            {"modality": modality, "studies": studies, "series": series, "images": int(images or 0)}
            for modality, studies, series, images in found
        ]
    }
