"""A row of the catalogue as JSON: DICOM's keyword is the key, the column's own name where there is none."""

from datetime import date, datetime, time
from functools import cache
from typing import Any

from minipacs.database import Base

HIDDEN = {"source", "source_size", "source_mtime_ns", "rendered_with", "png_path"}
"""Where things lie on our disk is nobody's business."""


@cache
def keys(table: type[Base]) -> tuple[tuple[str, str], ...]:
    """(attribute, JSON key) of every column."""
    return tuple((c.key, key(c)) for c in table.__table__.columns if c.key not in HIDDEN)


def key(column: Any) -> str:
    """The JSON key of a column: `PatientID`, `NumberOfStudyRelatedSeries`, `png_path`."""
    if "keyword" in column.info:
        return str(column.info["keyword"])
    return (column.comment or "").removeprefix("kept: ") if (column.comment or "").startswith("kept: ") else column.key


def row(entity: Base) -> dict[str, Any]:
    """Every column of a row."""
    return {name: plain(getattr(entity, attribute)) for attribute, name in keys(type(entity))}


def plain(value: Any) -> Any:
    """Dates and times as ISO 8601."""
    return value.isoformat() if isinstance(value, date | datetime | time) else value
