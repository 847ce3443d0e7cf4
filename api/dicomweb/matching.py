"""QIDO-RS queries as conditions on the catalogue: matching keys, `limit` and `offset` (PS3.18 8.3.4, PS3.4 C.2.2.2)."""

import re
from collections.abc import Callable
from typing import Any

from flask import request
from pydicom.datadict import keyword_for_tag
from sqlalchemy import ColumnElement, and_
from sqlalchemy.orm import InstrumentedAttribute

from api.web.paging import parse_date, parse_integer
from minipacs.errors import BadRequest

MAX_RESULTS = 1000
NO_MATCHING_KEYS = frozenset(["limit", "offset", "fuzzymatching", "includefield", "orderby"])
"""Parameters that control the answer; OHIF sends them all."""
JSON_TYPES = ("application/dicom+json", "application/json")
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,12}")
"""An IS has at most 12 characters (PS3.5 6.2)."""
Match = Callable[[str], ColumnElement[bool]]
"""From the value of a matching key to a condition."""


def parse_matching_keys(keys: dict[str, Match]) -> dict[str, ColumnElement[bool]] | None:
    """The conditions of this request, by keyword; None when a key is none of these, or when it wants no JSON.

    A key without a value matches all (PS3.4 C.2.2.2.3).
    """
    accepted = request.accept_mimetypes
    if accepted and not any(accepted.quality(kind) for kind in JSON_TYPES):
        return None

    conditions: dict[str, ColumnElement[bool]] = {}
    for name, text in request.args.items(multi=True):
        keyword = _to_keyword(name)
        if name in NO_MATCHING_KEYS or not text.strip("*"):
            continue
        if keyword not in keys:
            return None
        if "\0" in text:
            raise BadRequest(f"{keyword} has a NUL character.", "Leave it out.")

        condition = keys[keyword](text)
        conditions[keyword] = and_(conditions[keyword], condition) if keyword in conditions else condition
    return conditions


def _to_keyword(name: str) -> str:
    """`PatientID` for `PatientID` and for `00100020` (PS3.18 8.3.4.1)."""
    try:
        return keyword_for_tag(int(name, 16)) if len(name) == 8 else name
    except ValueError:
        return name


def parse_limit_and_offset() -> tuple[int, int]:
    """`limit`, at most `MAX_RESULTS`, and `offset`."""
    return min(_parse_count_parameter("limit", MAX_RESULTS), MAX_RESULTS), _parse_count_parameter("offset", 0)


def _parse_count_parameter(name: str, absent: int) -> int:
    number = parse_integer(request.args[name]) if request.args.get(name) else absent
    if number < 0:
        raise BadRequest(f"{name} must not be negative.", "Send 0 or more.")
    return number


def match_text(column: InstrumentedAttribute[Any]) -> Match:
    """Match a text with wildcards `*` and `?` (PS3.4 C.2.2.2.4).

    The case of ASCII letters does not count (as PS3.4 allows for PN).
    """

    def match(text: str) -> ColumnElement[bool]:
        for plain, escaped in (("\\", "\\\\"), ("%", "\\%"), ("_", "\\_"), ("*", "%"), ("?", "_")):
            text = text.replace(plain, escaped)
        return column.ilike(text, escape="\\")

    return match


def match_dates(column: InstrumentedAttribute[Any]) -> Match:
    """Match a day or a range, open at either end: 20240101, 20240101-20240131, 20240101-, -20240131 (C.2.2.2.5)."""

    def match(text: str) -> ColumnElement[bool]:
        first, between, last = text.strip().partition("-")
        if not between:
            return column == parse_date(first)
        ends = [column >= parse_date(first)] if first else []
        ends += [column <= parse_date(last)] if last else []
        return and_(column.is_not(None), *ends)

    return match


def match_uids(column: InstrumentedAttribute[Any]) -> Match:
    """Match one of several UIDs (PS3.4 C.2.2.2.2)."""
    return lambda text: column.in_(split_values(text))


def match_numbers(column: InstrumentedAttribute[Any]) -> Match:
    """Match one of several whole numbers; what is no number matches nothing."""

    def match(text: str) -> ColumnElement[bool]:
        return column.in_([int(value) for value in split_values(text) if WHOLE_NUMBER.fullmatch(value)])

    return match


def split_values(text: str) -> list[str]:
    """Split several values, by backslash as in DICOM, or by comma as PS3.18 8.3.4.1 writes lists of UIDs."""
    return [value.strip() for value in text.replace("\\", ",").split(",") if value.strip()]
