"""The front of the house."""

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue

from api.catalogue.studies import overview
from api.context import context
from api.web.responses import wants_page
from minipacs import __version__
from minipacs.catalogue import totals

blueprint = Blueprint("welcome", __name__)


@blueprint.get("/")
def welcome() -> ResponseReturnValue:
    """A greeting for scripts, the studies for people."""
    if wants_page():
        return render_template("studies.html", **overview({}))
    with context().database.reading() as session:
        counts = totals(session)
    return {
        "message": "Welcome to minipacs!",
        "version": __version__,
        "counts": vars(counts),
        "links": {
            name: f"/{name}" for name in ("patients", "studies", "series", "images", "jobs", "files", "docs", "ohif/")
        },
    }


@blueprint.get("/favicon.ico")
def icon() -> ResponseReturnValue:
    """Browsers ask here without being told to."""
    return redirect("/static/icon.svg", 301)
