"""Data elements to column values: by the VR of the dictionary, without pydicom's slower conversions."""

import math
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any, NamedTuple

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from sqlalchemy import JSON, BigInteger, Date, DateTime, Double, Time

from minipacs.database import Base

BINARY = ("US", "SS", "UL", "FL", "FD", "SL", "AT", "OB", "OW", "SV", "UV")
UNSPLIT = ("LT", "ST", "UT")
"""VRs in which a backslash is a character, not a separator (PS3.5 6.2)."""


class Column(NamedTuple):
    """A column that holds a data element."""

    name: str
    keyword: str
    tag: int
    vr: str
    several: bool
    kind: type


def columns_of(table: type[Base]) -> list[Column]:
    """The columns of a table that name a keyword."""
    found = []
    for column in table.__table__.columns:
        keyword = column.info.get("keyword")
        if keyword:
            tag = tag_for_keyword(keyword) or 0
            several = isinstance(column.type, JSON)
            found.append(Column(column.name, keyword, tag, dictionary_VR(tag), several, type(column.type)))
    return found


Raw = Mapping[int, bytes] | None
"""Values of little-endian elements by tag, as a scan found them; None: pydicom read the file."""


def row(dataset: Dataset, columns: list[Column], remarks: list[str], raw: Raw = None) -> dict[str, Any]:
    """Column values; what breaks its VR is None, and remarked upon."""
    return {column.name: value(dataset, column, remarks, raw) for column in columns}


def value(dataset: Dataset, column: Column, remarks: list[str], raw: Raw = None) -> Any:
    """The element as the column wants it, None when it is absent, empty or broken."""
    if raw is not None and not raw.get(column.tag):
        return None
    try:
        parts = _parts(dataset, column, raw)
        read = [converted(part, column) for part in parts]
    except (ValueError, TypeError, OverflowError, ArithmeticError, LookupError, AttributeError, NotImplementedError):
        # pydicom's many ways of finding a value broken
        remarks.append(f"{column.keyword} breaks the rules of its VR {column.vr} (PS3.5 6.2): it was left out.")
        return None
    if column.several:
        return read if any(part is not None for part in read) else None
    return next(iter(read), None)


def _parts(dataset: Dataset, column: Column, raw: Raw) -> list[Any]:
    """The values of an element, each as text or number."""
    if raw is not None:
        data = raw[column.tag]
        if column.vr == "US" and len(data) == 2:
            return [int.from_bytes(data, "little")]
    else:
        element = dataset.get_item(column.tag)
        if element is None:
            return []
        data = element.value if isinstance(element, RawDataElement) and isinstance(element.value, bytes) else b"\x1b"
    if column.vr not in BINARY and data.isascii() and b"\x1b" not in data:  # PS3.5 6.1: no character set is needed
        text = data.decode("ascii")
        return text.split("\\") if column.several else [text]
    held = dataset[column.tag].value
    if isinstance(held, MultiValue | list | tuple):
        return list(held) if column.several or column.vr in BINARY else ["\\".join(str(part) for part in held)]
    return [] if held is None else [held]


def converted(part: Any, column: Column) -> Any:
    """One value: number, date, time or text; raises when it is none."""
    if column.vr in ("IS", "US", "SS", "UL", "SL", "DS", "FL", "FD"):
        return _number(part, column)
    text = str(part).replace("\0", "").strip()
    if not text:
        return None
    if column.kind is Date:
        return as_date(text)
    if column.kind is Time:
        return as_time(text)
    if column.kind is DateTime:
        return as_datetime(text)
    return text


def _number(part: Any, column: Column) -> float | int | None:
    if isinstance(part, str):
        part = part.replace("\0", "").strip()
        if not part:
            return None
    if column.vr in ("DS", "FL", "FD") or column.kind is Double:
        number = float(part)
        if not math.isfinite(number):
            raise ValueError("not finite")
        return number
    whole = float(part)
    bits = 63 if column.kind is BigInteger else 31
    if not whole.is_integer() or not -(2**bits) <= whole < 2**bits:
        raise ValueError("not an integer that fits")
    return int(whole)


def as_date(text: str) -> date:
    """DA: YYYYMMDD, or YYYY.MM.DD as ACR-NEMA had it (PS3.5 6.2)."""
    digits = text.replace(".", "").replace("-", "")
    if len(digits) != 8 or not digits.isdecimal():
        raise ValueError("not a date")
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


def as_time(text: str) -> time:
    """TM: HH, HHMM, HHMMSS or HHMMSS.FFFFFF; colons as ACR-NEMA had them (PS3.5 6.2)."""
    whole, _, fraction = text.replace(":", "").partition(".")
    if len(whole) not in (2, 4, 6) or not whole.isdecimal() or not (fraction or "0").isdecimal():
        raise ValueError("not a time")
    hour, minute, second = (int(whole[i : i + 2] or 0) for i in (0, 2, 4))
    return time(hour, minute, min(second, 59), int(fraction[:6].ljust(6, "0")))  # 60 is a leap second


def as_datetime(text: str) -> datetime:
    """DT: as much of YYYYMMDDHHMMSS.FFFFFF as is given; the offset from UTC is dropped (local time stays)."""
    local = text[:1] + text[1:].replace("-", "+").partition("+")[0]
    whole, _, fraction = local.partition(".")
    day = as_date((whole + "0101")[:8] if len(whole) < 8 else whole[:8]) if len(whole) != 6 else as_date(whole + "01")
    clock = as_time((whole[8:] or "00") + (f".{fraction}" if fraction and len(whole) == 14 else ""))
    return datetime.combine(day, clock)
