"""What work is: the contract between the job service and the boxes that do the work.

A box registers a module under the entry point group `minipacs.work`; its name there is the job kind.
The module has two functions (see `Work`). `orders` is asked, cheaply, what a study needs; `run` does
one of those orders in a pool worker. The job service knows nothing else about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from minipacs.archive.client import Archive
    from minipacs.database import Database
    from minipacs.settings import Settings

MANUFACTURER = "minipacs"
"""Manufacturer (0008,0070) of every object we make: how our own objects are known again."""


@dataclass(frozen=True)
class SeriesContent:
    """What the archive holds of a series, without its pixels."""

    series_id: str
    """Orthanc's identifier."""
    series_instance_uid: str
    modality: str
    manufacturer: str
    description: str
    instances: tuple[tuple[str, str], ...]
    """(SOP Instance UID, Orthanc's identifier) of each instance, sorted by UID."""

    @property
    def ours(self) -> bool:
        """Whether we made it: our objects never trigger segmentation."""
        return self.manufacturer == MANUFACTURER

    @property
    def digest(self) -> str:
        """Of the sorted SOP Instance UIDs: a late instance changes it, order of arrival does not."""
        return digest(uid for uid, _ in self.instances)


@dataclass(frozen=True)
class StudyContent:
    """What the archive holds of a study, without its pixels."""

    study_id: str
    """Orthanc's identifier."""
    study_instance_uid: str
    series: tuple[SeriesContent, ...]

    def digest(self, *, ours: bool) -> str:
        """Of the sorted SOP Instance UIDs; `ours` says whether objects we made count."""
        return digest(uid for s in self.series if ours or not s.ours for uid, _ in s.instances)


def digest(uids: Any) -> str:
    """SHA-256 over the sorted UIDs, one a line; the first 32 hexadecimal digits."""
    return sha256("\n".join(sorted(uids)).encode("ascii", "replace")).hexdigest()[:32]


@dataclass(frozen=True)
class Order:
    """A piece of work to be queued; `key` is its natural identity: the same key is the same row."""

    kind: str
    key: str
    study_instance_uid: str
    args: dict[str, Any] = field(default_factory=dict)
    needs: str = "cpu"
    """Resource tag of the worker: `cpu` or `gpu`."""
    priority: int = 0
    """Higher goes first."""


class Task(Protocol):
    """What a running job has at hand."""

    settings: "Settings"
    database: "Database"
    args: dict[str, Any]

    @property
    def archive(self) -> "Archive":
        """The archive, opened when it is first needed."""

    def progress(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        """Tell how far it is; raises `Cancelled` when the job was cancelled or lost. Call it often."""


class Work(Protocol):
    """A module with these two functions, found under the entry point group `minipacs.work`."""

    def orders(self, study: StudyContent, settings: "Settings") -> Sequence[Order]:
        """What this study needs of this kind of work; called in the job service: no heavy imports."""

    def run(self, task: Task) -> dict[str, Any]:
        """Do it, in a pool worker. Doing it twice makes the same result. The answer must be JSON: its
        `summary`, if there is one, is a sentence for people; its `segmentations`, if there are any, name
        the series that were stored in the archive (`series_made`)."""


class Asked(Work, Protocol):
    """Work that people may ask for as well, by an engine of their choice."""

    def engines(self, settings: "Settings") -> list[dict[str, Any]]:
        """`{"name", "available", "version", "modalities", "reason", "hint"}` of each engine."""

    def asked(self, study: StudyContent, settings: "Settings", engine: str) -> Order:
        """The order for this study by this engine; raises `EngineUnavailable` and `NotAVolume`."""

    def check_rules(self, text: str, settings: "Settings") -> None:
        """Raises `SettingsError` for rules (TOML) that cannot be read."""


def series_made(result: dict[str, Any]) -> list[str]:
    """Series Instance UIDs of the segmentations that a finished job stored in the archive."""
    return [str(made["seg_series_instance_uid"]) for made in result.get("segmentations", ())]


class Cancelled(Exception):
    """Raised inside `Task.progress` when the job must stop: cancelled, or given to another worker."""


@cache
def works() -> dict[str, Work]:
    """Every kind of work that is installed, by job kind."""
    return {point.name: point.load() for point in sorted(entry_points(group="minipacs.work"), key=lambda p: p.name)}
