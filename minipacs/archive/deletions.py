"""The deletions that our plugin notes in Orthanc: numbered, in memory, since Orthanc's start.

Orthanc's change log has none. What the log lost (Orthanc was started again, or there were too many) no page has: the
reader compares all that the archive holds with what it knows (`DeletionPage.is_complete`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Deletion:
    """One entry of the log."""

    number: int
    level: str
    """Patient, Study, Series or Instance. A deleted study has an entry for each of its series and instances, too."""
    resource_id: str
    """Orthanc's identifier. It may be in use again: look before anything is forgotten."""


@dataclass(frozen=True)
class DeletionCursor:
    """How far a reader has come: an entry's number, which means something in one epoch alone."""

    epoch: str = ""
    """Name of one start of Orthanc; empty before the first look."""
    position: int = 0


@dataclass(frozen=True)
class DeletionPage:
    """A page of the log."""

    entries: tuple[Deletion, ...]
    cursor: DeletionCursor
    """Where the next page begins."""
    is_complete: bool
    """Whether it has all that follows the cursor asked for. If not, it has no entries, and its cursor is the end of the
    log as it was before anything can be compared."""
    is_last: bool


def parse_page(answer: dict[str, Any]) -> DeletionPage:
    """The page that an answer of the plugin has."""
    entries = tuple(Deletion(int(number), str(level), str(key)) for number, level, key in answer["entries"])
    cursor = DeletionCursor(str(answer["epoch"]), int(answer["last"]))
    return DeletionPage(entries, cursor, bool(answer["is_complete"]), bool(answer["is_done"]))


def read_deletion_log(
    read_page: Callable[[DeletionCursor], DeletionPage | None], cursor: DeletionCursor
) -> Iterator[DeletionPage]:
    """The pages of the log after the cursor, to its end; none where Orthanc has no such log (our plugin is missing).

    `read_page` is `Archive.read_deletions`. The caller keeps the cursor of a page in the transaction that writes what
    follows from its entries.
    """
    while (page := read_page(cursor)) is not None:
        yield page
        if page.is_last:
            return
        cursor = page.cursor
