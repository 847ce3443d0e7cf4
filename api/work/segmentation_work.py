"""The segmentation's own answers, found through the registry of work: nothing of that box is imported here."""

from typing import TypedDict, cast

from api.context import context
from minipacs.jobs.contract import RequestableWork, kinds_of_work


class EngineJson(TypedDict):
    """An engine: available, or why not and what to do."""

    name: str
    available: bool
    version: str | None
    modalities: list[str]
    reason: str | None
    hint: str | None


def segmentation_work() -> RequestableWork:
    """The work that people may ask for by an engine of their choice."""
    return cast(RequestableWork, kinds_of_work()["segment"])


def list_engines() -> list[EngineJson]:
    """Every segmentation engine that is installed or could be."""
    return cast(list[EngineJson], segmentation_work().engines(context().settings))
