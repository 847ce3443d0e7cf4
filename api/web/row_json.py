"""A row of the catalogue as JSON: DICOM's keyword is the key, the column's own name where there is none."""

from datetime import UTC, date, datetime, time
from functools import cache
from typing import Any, TypedDict, cast

from sqlalchemy import JSON

from minipacs.tables import Base

JsonRow = dict[str, Any]
"""A row as JSON; its keys and types are those of the table (`make_row_type`)."""
HIDDEN = {
    *("source", "source_size", "source_mtime_ns", "rendered_with", "png_path"),
    *("study_key", "series_key", "instance_key", "content_md5", "file_uuid"),
}
"""Paths of this machine, and what only the ETL needs: no answer has them."""


@cache
def attributes_with_json_keys(table: type[Base]) -> tuple[tuple[str, str], ...]:
    """(attribute, JSON key) of every column that answers may show."""
    return tuple((c.key, json_key(c)) for c in table.__table__.columns if c.key not in HIDDEN)


def json_key(column: Any) -> str:
    """The JSON key of a column: `PatientID`, `NumberOfStudyRelatedSeries`, `png_path`."""
    if "keyword" in column.info:
        return str(column.info["keyword"])
    return (column.comment or "").removeprefix("kept: ") if (column.comment or "").startswith("kept: ") else column.key


def row_as_json(entity: Base) -> JsonRow:
    """Every column of a row."""
    columns = attributes_with_json_keys(type(entity))
    return {key: to_json_value(getattr(entity, attribute)) for attribute, key in columns}


def to_json_value(value: Any) -> Any:
    """Dates and times as ISO 8601."""
    return value.isoformat() if isinstance(value, date | datetime | time) else value


def make_row_type(name: str, table: type[Base], **more: Any) -> Any:
    """The type of a table's rows as JSON, made of its columns, and what a route adds to them."""
    columns = table.__table__.columns
    fields = {shown: _json_type(columns[attribute]) for attribute, shown in attributes_with_json_keys(table)}
    return cast(Any, TypedDict)(name, {**fields, **more})


def make_page_type(name: str, noun: str, row: Any) -> Any:
    """The type of a page of a list: rows, and the address of the next page."""
    return cast(Any, TypedDict)(name, {noun: list[row], "next": str | None})


def make_list_type(row: Any) -> Any:
    """The type of a list of rows."""
    return list[row]


def _json_type(column: Any) -> Any:
    """The type of a column's value as JSON."""
    if isinstance(column.type, JSON):
        kind: Any = list[Any]
    else:
        python = column.type.python_type
        kind = python if python in (bool, int, float, date) else str
    return kind | None if column.nullable else kind


def iso_time(seconds: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds is not None else None
