"""Tables as CSV (RFC 4180), a piece at a time."""

import csv
import io
from collections.abc import Iterable
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that a spreadsheet would run."""


def format_csv_rows(rows: Iterable[Iterable[Any]]) -> str:
    """The lines of these rows."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def escape_formula(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: such a text begins with an apostrophe."""
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA) else value
