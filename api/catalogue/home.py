"""The greeting at `/`: for people the list of studies."""

from typing import TypedDict

from flask import Blueprint, redirect
from flask.typing import ResponseReturnValue

from api.catalogue.study_overview import read_study_overview
from api.context import context
from api.web.describe_route import answers, takes_query
from api.web.paging import PageParameters
from api.web.responses import render_page, wants_page
from minipacs import __version__
from minipacs.catalogue import read_catalogue_counts

blueprint = Blueprint("welcome", __name__)
LINKS = ("patients", "studies", "series", "images", "jobs", "files", "docs", "ohif/")


class CountsOfCatalogue(TypedDict):
    """How many there are of each level."""

    patients: int
    studies: int
    series: int
    images: int


class Greeting(TypedDict):
    """What is here, and where it is."""

    message: str
    version: str
    counts: CountsOfCatalogue
    links: dict[str, str]


@blueprint.get("/")
@takes_query(PageParameters)
@answers(Greeting, page="studies.html")
def greeting_or_studies(query: PageParameters) -> ResponseReturnValue:
    """A greeting for scripts, the studies for people."""
    if wants_page():
        return render_page(read_study_overview(query, {}))

    with context().database.reading() as session:
        counts = read_catalogue_counts(session)
    return {
        "message": "Welcome to minipacs!",
        "version": __version__,
        "counts": vars(counts),
        "links": {name: f"/{name}" for name in LINKS},
    }


@blueprint.get("/favicon.ico")
def favicon() -> ResponseReturnValue:
    """Browsers ask for this address by themselves."""
    return redirect("/static/icon.svg", 301)
