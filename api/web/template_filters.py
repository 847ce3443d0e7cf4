"""Filters of the templates: numbers with their nouns, and times."""

from flask import Flask
from markupsafe import Markup

SAME_IN_PLURAL = ("series",)


def install(app: Flask) -> None:
    """Register the filters, each under its function's name."""
    app.jinja_env.filters["format_count"] = format_count
    app.jinja_env.filters["time_element"] = time_element


def format_count(number: int, noun: str) -> str:
    """A number and its noun: `1 image`, `2 images`, `0 studies`, `3 series`."""
    if number == 1 or noun in SAME_IN_PLURAL:
        return f"{number} {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"


def time_element(iso: str | None) -> str:
    """An ISO 8601 time in UTC as people read it, `2026-11-21 09:01:46`; the element's attributes have the whole."""
    if not iso:
        return "–"
    shown = iso[:19].replace("T", " ")
    return Markup('<time datetime="{}" title="{} (UTC)">{}</time>').format(iso, iso, shown)
