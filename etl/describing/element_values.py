"""Data elements to column values: by the VR of the dictionary, without pydicom's slower conversions."""

import math
from datetime import date, datetime, time
from typing import Any, NamedTuple

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from sqlalchemy import JSON, BigInteger, Date, DateTime, Double, Time

from etl.describing.dicom_scan import RawValues
from etl.records import Row
from minipacs.errors import CONTROL_CHARACTERS
from minipacs.tables import Base

__all__ = ["Column", "clean_text", "list_element_columns", "parse_date", "parse_date_time", "parse_time", "read_row"]

BINARY_VRS = ("US", "SS", "UL", "FL", "FD", "SL", "AT", "OB", "OW", "SV", "UV")
INTEGER_VRS = ("IS", "US", "SS", "UL", "SL")
REAL_VRS = ("DS", "FL", "FD")

ESCAPE = b"\x1b"
"""Begins another character set within a text (PS3.5 6.1.2.5.3)."""

MAX_CHARACTERS = 512
"""Longer than the longest VR of a column, a PN of three groups (PS3.5 6.2), and short enough for any index."""

LAST_SECOND = 59
"""TM knows the leap second 60, Python does not."""


class Column(NamedTuple):
    """A column that holds a data element."""

    name: str
    keyword: str
    tag: int
    vr: str

    several: bool
    """Whether the column holds a list of values."""

    kind: type
    """SQLAlchemy's type of the column."""


def list_element_columns(table: type[Base]) -> list[Column]:
    """The columns of a table that name a DICOM keyword."""
    columns = []
    for column in table.__table__.columns:
        keyword = column.info.get("keyword")
        if not keyword:
            continue

        tag = tag_for_keyword(keyword) or 0
        several = isinstance(column.type, JSON)
        columns.append(Column(column.name, keyword, tag, dictionary_VR(tag), several, type(column.type)))
    return columns


def read_row(dataset: Dataset, columns: list[Column], raw: RawValues | None) -> tuple[Row, list[str]]:
    """The values of these columns, and a remark for each value that breaks its VR: that one is None.

    `raw` holds the dataset's values as they lie in the file; None when pydicom read it.
    """
    row: Row = {}
    remarks = []

    for column in columns:
        try:
            row[column.name] = _read_column_value(dataset, column, raw)
        except Exception:  # pydicom's many ways of finding a value broken (minipacs/formats/parsing.py): only this one
            row[column.name] = None
            remarks.append(f"{column.keyword} breaks the rules of its VR {column.vr} (PS3.5 6.2): it was left out.")

    return row, remarks


def _read_column_value(dataset: Dataset, column: Column, raw: RawValues | None) -> Any:
    """The element as the column wants it; None when it is absent or empty. Raises when it breaks its VR."""
    if raw is not None and not raw.get(column.tag):
        return None

    values = [_convert_value(part, column) for part in _read_element_values(dataset, column, raw)]
    if column.several:
        return values if any(value is not None for value in values) else None
    return next(iter(values), None)


def _read_element_values(dataset: Dataset, column: Column, raw: RawValues | None) -> list[Any]:
    """The values of an element, each as text or number."""
    if raw is not None:
        data = raw[column.tag]
        if column.vr == "US" and len(data) == 2:
            return [int.from_bytes(data, "little")]
    else:
        element = dataset.get_item(column.tag)
        if element is None:
            return []
        data = element.value if isinstance(element, RawDataElement) and isinstance(element.value, bytes) else ESCAPE

    if column.vr not in BINARY_VRS and data.isascii() and ESCAPE not in data:  # PS3.5 6.1: no character set is needed
        text = data.decode("ascii")
        return text.split("\\") if column.several else [text]

    decoded = dataset[column.tag].value
    if decoded is None:
        return []
    if not isinstance(decoded, MultiValue | list | tuple):
        return [decoded]
    if column.several or column.vr in BINARY_VRS:
        return list(decoded)
    return ["\\".join(str(part) for part in decoded)]


def _convert_value(part: Any, column: Column) -> Any:
    """One value as number, date, time or text, None when it is empty; raises when it breaks its VR."""
    if column.vr in INTEGER_VRS or column.vr in REAL_VRS:
        return _convert_number(part, column)

    text = clean_text(str(part))
    if not text:
        return None
    if len(text) > MAX_CHARACTERS:
        raise ValueError("longer than any VR of a column allows")
    if column.kind is Date:
        return parse_date(text)
    if column.kind is Time:
        return parse_time(text)
    if column.kind is DateTime:
        return parse_date_time(text)
    return text


def clean_text(text: str) -> str:
    """A text without padding and control characters (PS3.5 6.1.3), which any database, log and header can hold.

    Half of a surrogate pair, which is no character, becomes a question mark.
    """
    if not text.isprintable():
        text = text.replace("\0", "").translate(CONTROL_CHARACTERS).encode("utf-8", "replace").decode("utf-8")
    return text.strip()


def _convert_number(part: Any, column: Column) -> float | int | None:
    """A finite float, or an integer that fits the column; None when it is empty."""
    if isinstance(part, str):
        part = part.replace("\0", "").strip()
        if not part:
            return None

    number = float(part)
    if column.vr in REAL_VRS or column.kind is Double:
        if not math.isfinite(number):
            raise ValueError("not finite")
        return number

    bits = 63 if column.kind is BigInteger else 31
    if not number.is_integer() or not -(2**bits) <= number < 2**bits:
        raise ValueError("not an integer that fits")
    return int(number)


def parse_date(text: str) -> date:
    """Parse a DA: YYYYMMDD, or YYYY.MM.DD as ACR-NEMA had it (PS3.5 6.2). Raises ValueError."""
    digits = text.replace(".", "").replace("-", "")
    if len(digits) != 8 or not digits.isdecimal():
        raise ValueError("not a date")
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


def parse_time(text: str) -> time:
    """Parse a TM: HH, HHMM, HHMMSS or HHMMSS.FFFFFF; colons as ACR-NEMA had them (PS3.5 6.2). Raises ValueError."""
    clock, _, fraction = text.replace(":", "").partition(".")
    if len(clock) not in (2, 4, 6) or not clock.isdecimal() or not (fraction or "0").isdecimal():
        raise ValueError("not a time")

    hour, minute, second = (int(clock[i : i + 2] or 0) for i in (0, 2, 4))
    return time(hour, minute, min(second, LAST_SECOND), int(fraction[:6].ljust(6, "0")))


def parse_date_time(text: str) -> datetime:
    """Parse a DT: as much of YYYYMMDDHHMMSS.FFFFFF as is given (PS3.5 6.2). Raises ValueError.

    The offset from UTC is dropped: local time stays.
    """
    local = text[:1] + text[1:].replace("-", "+").partition("+")[0]
    digits, _, fraction = local.partition(".")

    is_month = len(digits) == 6
    day = parse_date(digits + "01" if is_month else (digits + "0101")[:8])

    seconds = f".{fraction}" if fraction and len(digits) == 14 else ""
    clock = parse_time((digits[8:] or "00") + seconds)
    return datetime.combine(day, clock)
