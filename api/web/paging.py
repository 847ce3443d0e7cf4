"""Lists a page at a time: filters by DICOM keyword; a cursor, no offset, so that page 10,000 costs as page 1."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from flask import request
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct, field
from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.web.describe_route import QueryParameters
from api.web.disclosed import note_rows
from api.web.row_json import JsonRow, row_as_json, to_json_value
from minipacs.errors import BadRequest, NotFound

MAX_LIMIT = 1000
"""Rows of one page."""
Filter = Callable[[str], ColumnElement[bool]]
Values = TypeVar("Values", bound=QueryParameters)
Found = TypeVar("Found")


def one_or_404(found: Found | None, noun: str, key: str, where_to_look: str) -> Found:
    """What was found; `NotFound` where that is nothing. `where_to_look`: the address of the list."""
    if found is None:
        raise NotFound(f"The catalogue has no {noun} {key!r}.", f"GET {where_to_look} lists them.")
    return found


def equals(column: InstrumentedAttribute[Any]) -> Filter:
    """`?Modality=CT`; a `*` in a text stands for anything (PS3.4 C.2.2.2.4)."""

    def condition(text: str) -> ColumnElement[bool]:
        kind = column.type.python_type
        if kind is int:
            return column == parse_integer(text)
        if kind is date:
            return column == parse_date(text)
        if "*" in text:
            pattern = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
            return column.ilike(pattern, escape="\\")
        return column == text

    return condition


def on_or_after(column: InstrumentedAttribute[Any]) -> Filter:
    """`?from=2024-01-31`."""
    return lambda text: column >= parse_date(text)


def on_or_before(column: InstrumentedAttribute[Any]) -> Filter:
    """`?to=2024-01-31`."""
    return lambda text: column <= parse_date(text)


def parse_integer(text: str) -> int:
    """A whole number of 64 bits, or a `BadRequest`."""
    try:
        number = int(text)
    except ValueError:
        raise BadRequest(f"{text!r} is not a whole number.", "Send digits.") from None
    if not -(2**63) <= number < 2**63:
        raise BadRequest("That number is too large.", "Send a smaller one.")
    return number


def parse_date(text: str) -> date:
    """A date, as 2024-01-31 or 20240131."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{text!r} is not a date.", "Write it as 2024-01-31.") from None


class PageParameters(QueryParameters):
    """Which page of a list; `next` of the page before has both."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 100
    """At most so many rows."""
    after: str = ""
    """Where the page begins: a cursor, which the address in `next` has."""


def make_filter_parameters(name: str, filters: Iterable[str], base: type[Values]) -> type[Values]:
    """A model of a query: a text for each filter, and the parameters of `base`."""
    fields = [(f"by_{key}", str | UnsetType, field(default=UNSET, name=key)) for key in filters]
    return defstruct(name, fields, bases=(base,), kw_only=True, forbid_unknown_fields=True)  # type: ignore[return-value]


def read_given_filters(parameters: Struct) -> dict[str, str]:
    """The filters that a request has, by name."""
    keys = zip(parameters.__struct_fields__, parameters.__struct_encode_fields__, strict=True)
    given = {key: getattr(parameters, name) for name, key in keys if name.startswith("by_")}
    return {key: text for key, text in given.items() if text is not UNSET}


def apply_filters(statement: Select[Any], filters: Mapping[str, Filter], given: Mapping[str, str]) -> Select[Any]:
    """The statement with a condition for every filter that is given."""
    for name, text in given.items():
        statement = statement.where(filters[name](text))
    return statement


def read_page(
    session: Session, statement: Select[Any], order: Sequence[tuple[Any, bool]], noun: str, which: PageParameters
) -> JsonRow:
    """`{noun: [rows], "next": address of the next page or null}`; `order`: (column that is never NULL, descending)."""
    if which.after:
        statement = statement.where(_is_after_cursor(order, which.after))
    columns = [column.desc() if descending else column for column, descending in order]
    size = which.limit
    found = session.execute(
        statement.add_columns(*(column for column, _ in order)).order_by(*columns).limit(size + 1)
    ).all()
    next_page = None
    if len(found) > size:
        query = {**request.args.to_dict(), "after": _encode_cursor([to_json_value(v) for v in found[size - 1][1:]])}
        next_page = f"{request.path}?{urlencode(query)}"
    rows = [entry[0] for entry in found[:size]]
    note_rows(rows)
    return {noun: [row_as_json(row) for row in rows], "next": next_page}


def _encode_cursor(values: list[Any]) -> str:
    return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _is_after_cursor(order: Sequence[tuple[Any, bool]], after: str) -> ColumnElement[bool]:
    """After the row whose sort values the cursor holds, in this order."""
    try:
        values = json.loads(urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if not isinstance(values, list) or len(values) != len(order):
            raise ValueError
        typed = [_convert_cursor_value(column, value) for (column, _), value in zip(order, values, strict=True)]
    except (ValueError, TypeError, RecursionError):
        raise BadRequest("`after` is no cursor of ours.", "Follow `next` of the page before.") from None
    cases = []
    for i, (column, descending) in enumerate(order):
        same = [c == v for (c, _), v in zip(order[:i], typed[:i], strict=True)]
        cases.append(and_(*same, column < typed[i] if descending else column > typed[i]))
    first, descending = order[0]
    return and_(first <= typed[0] if descending else first >= typed[0], or_(*cases))  # the first by its index


def _convert_cursor_value(column: Any, value: Any) -> Any:
    kind = column.type.python_type
    if kind is date:
        return date.fromisoformat(value)
    if not isinstance(value, kind) or (isinstance(value, str) and "\x00" in value):
        raise ValueError
    if isinstance(value, str):
        value.encode()  # a ValueError where it has half of a surrogate pair, which no database takes
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError
    return value
