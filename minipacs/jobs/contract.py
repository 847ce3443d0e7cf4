"""The contract between the job service and the packages that do the work.

A package registers a module under the entry point group `minipacs.work`; its name there is the job kind.
The module has two functions (see `Work`). `orders` lists, cheaply, what a study needs; `run` does
one of those orders in a pool worker. Its `TITLE`, if it has one, is what people call this kind of work
(`kind_titles`). The job service knows nothing else about it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from minipacs.archive.content import StudyContent

if TYPE_CHECKING:
    from minipacs.archive.client import Archive
    from minipacs.database import Database
    from minipacs.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """Work to be queued as a job; `key` is its natural identity: the same key is the same row."""

    kind: str
    key: str
    study_instance_uid: str
    args: dict[str, Any] = field(default_factory=dict)
    needs: str = "cpu"
    """Resource tag of the worker: `cpu` or `gpu`."""
    priority: int = 0
    """Higher goes first."""


class Task(Protocol):
    """The arguments of running work, and how it reports progress."""

    settings: "Settings"
    database: "Database"
    args: dict[str, Any]

    @property
    def archive(self) -> "Archive":
        """The archive, opened when it is first needed."""

    def progress(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        """Record how far it is; raises `Cancelled` when the job was cancelled or lost. Call it often."""


class Work(Protocol):
    """A module with these two functions, found under the entry point group `minipacs.work`."""

    def orders(self, study: StudyContent, settings: "Settings") -> Sequence[Order]:
        """What this study needs of this kind of work, as orders whose `kind` is the name of its entry point.

        Called in the job service: no heavy imports. It is called once more for a deleted study, without series.
        The study bears the content of each instance (`InstanceContent`): MD5, size and identifiers, no pixels.
        """

    def run(self, task: Task) -> dict[str, Any]:
        """Do one order, in a pool worker. Doing it twice gives the same result. The answer must be JSON: its
        `summary`, if there is one, is a sentence for people; its `segmentations`, if there are any, name
        the series that were stored in the archive (`segmentation_uids`)."""


class EngineStatus(TypedDict):
    """The status of a segmentation engine: available, or why not and what to do."""

    name: str
    available: bool
    version: str
    modalities: list[str]
    reason: str
    hint: str


class RequestableWork(Work, Protocol):
    """Work that people may request as well, by an engine of their choice."""

    def engines(self, settings: "Settings") -> list[EngineStatus]:
        """Every installed engine, by name."""

    def create_order(self, study: StudyContent, settings: "Settings", engine: str) -> Order:
        """The order for this study by this engine; raises `EngineUnavailable` and `NotAVolume`."""

    def check_rules(self, text: str, settings: "Settings") -> None:
        """Raises `SettingsError` for rules (TOML) that cannot be read."""


def segmentation_uids(result: dict[str, Any]) -> list[str]:
    """Series Instance UIDs of the segmentations that a finished job stored in the archive."""
    return [str(segmentation["seg_series_instance_uid"]) for segmentation in result.get("segmentations", ())]


class Cancelled(Exception):
    """Raised inside `Task.progress` when the job must stop: cancelled, or given to another worker."""


@cache
def kinds_of_work() -> dict[str, Work]:
    """Every kind of work that is installed, by job kind."""
    points = sorted(entry_points(group="minipacs.work"), key=lambda point: point.name)
    return {point.name: point.load() for point in points}


@cache
def kind_titles() -> dict[str, str]:
    """What people call each kind of work that is installed: the `TITLE` of its module, else the kind's own name."""
    points = sorted(entry_points(group="minipacs.work"), key=lambda point: point.name)
    return {point.name: _read_title(point) for point in points}


def _read_title(point: EntryPoint) -> str:
    """The title of one kind of work. A page that shows it must not fail where the work cannot be imported."""
    try:
        return str(getattr(point.load(), "TITLE", point.name))
    except (ImportError, AttributeError):
        log.exception("the kind of work %r cannot be imported", point.name)
        return point.name
