"""How pages say numbers and times."""

from flask import Flask
from markupsafe import Markup

INVARIABLE = ("series",)


def install(app: Flask) -> None:
    """Make the filters known to templates."""
    app.jinja_env.filters["count_of"] = count_of
    app.jinja_env.filters["time"] = time


def count_of(number: int, noun: str) -> str:
    """`1 image`, `2 images`, `0 studies`, `3 series`."""
    if number == 1 or noun in INVARIABLE:
        return f"{number} {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"


def time(iso: str | None) -> str:
    """An ISO 8601 time in UTC, to read: `2026-11-21 09:01:46`, whole for machines and when pointed at."""
    if not iso:
        return "–"
    shown = iso[:19].replace("T", " ")
    return Markup('<time datetime="{}" title="{} (UTC)">{}</time>').format(iso, iso, shown)
