"""Lists a page at a time: filters by DICOM keyword; a cursor, no offset, so that page 10,000 costs as page 1."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import urlencode

from flask import request
from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.web.row_json import plain, row
from minipacs.errors import BadRequest

MOST = 1000
USUAL = 100
Filter = Callable[[str], ColumnElement[bool]]


def equals(column: InstrumentedAttribute[Any]) -> Filter:
    """`?Modality=CT`; a `*` in a text stands for anything (PS3.4 C.2.2.2.4)."""

    def condition(text: str) -> ColumnElement[bool]:
        kind = column.type.python_type
        if kind is int:
            return column == whole(text)
        if kind is date:
            return column == day(text)
        if "*" in text:
            pattern = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
            return column.ilike(pattern, escape="\\")
        return column == text

    return condition


def on_or_after(column: InstrumentedAttribute[Any]) -> Filter:
    """`?from=2024-01-31`."""
    return lambda text: column >= day(text)


def on_or_before(column: InstrumentedAttribute[Any]) -> Filter:
    """`?to=2024-01-31`."""
    return lambda text: column <= day(text)


def whole(text: str) -> int:
    """A whole number of 64 bits, or a `BadRequest`."""
    try:
        number = int(text)
    except ValueError:
        raise BadRequest(f"{text!r} is not a whole number.", "Send digits.") from None
    if not -(2**63) <= number < 2**63:
        raise BadRequest("That number is too large.", "Send a smaller one.")
    return number


def day(text: str) -> date:
    """A date, as 2024-01-31 or 20240131."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{text!r} is not a date.", "Write it as 2024-01-31.") from None


def limit() -> int:
    """`?limit=`: how many, 1 to 1000."""
    number = whole(request.args.get("limit", str(USUAL)))
    if not 1 <= number <= MOST:
        raise BadRequest(f"limit must be 1 to {MOST}, not {number}.", "Follow `next` for more.")
    return number


def filtered(
    statement: Select[Any], filters: Mapping[str, Filter], wanted: Mapping[str, str] | None = None
) -> Select[Any]:
    """The statement with the conditions wanted (the query string); an unknown name is refused, not ignored."""
    for name, text in (request.args if wanted is None else wanted).items():
        if name in ("limit", "after"):
            continue
        if name not in filters:
            raise BadRequest(f"There is no filter {name!r} here.", f"There are {', '.join(sorted(filters))}.")
        if "\x00" in text:
            raise BadRequest(f"The filter {name} has a NUL character.", "Leave it out.")
        statement = statement.where(filters[name](text))
    return statement


def page(session: Session, statement: Select[Any], order: Sequence[tuple[Any, bool]], noun: str) -> dict[str, Any]:
    """`{noun: [rows], "next": address of the next page or null}`; `order`: (column that is never NULL, descending)."""
    after = request.args.get("after")
    if after:
        statement = statement.where(_beyond(order, after))
    columns = [column.desc() if descending else column for column, descending in order]
    size = limit()
    found = session.execute(
        statement.add_columns(*(column for column, _ in order)).order_by(*columns).limit(size + 1)
    ).all()
    following = None
    if len(found) > size:
        query = {**request.args.to_dict(), "after": _cursor([plain(v) for v in found[size - 1][1:]])}
        following = f"{request.path}?{urlencode(query)}"
    return {noun: [row(entry[0]) for entry in found[:size]], "next": following}


def _cursor(values: list[Any]) -> str:
    return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _beyond(order: Sequence[tuple[Any, bool]], after: str) -> ColumnElement[bool]:
    """After the row whose sort values the cursor holds, in this order."""
    try:
        values = json.loads(urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if not isinstance(values, list) or len(values) != len(order):
            raise ValueError
        typed = [_typed(column, value) for (column, _), value in zip(order, values, strict=True)]
    except (ValueError, TypeError):
        raise BadRequest("`after` is no cursor of ours.", "Follow `next` of the page before.") from None
    cases = []
    for i, (column, descending) in enumerate(order):
        same = [c == v for (c, _), v in zip(order[:i], typed[:i], strict=True)]
        cases.append(and_(*same, column < typed[i] if descending else column > typed[i]))
    return or_(*cases)


def _typed(column: Any, value: Any) -> Any:
    kind = column.type.python_type
    if kind is date:
        return date.fromisoformat(value)
    if not isinstance(value, kind) or (isinstance(value, str) and "\x00" in value):
        raise ValueError
    return value
