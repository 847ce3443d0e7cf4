"""From a spool's records to entries: acts that were interrupted are found, repeats of a look become one entry.

The first look of a user at a study is an entry at once. Looks at the same within minutes are counted, and
become one entry with their number, the time of the first and that of the last.
"""

import time
from collections.abc import Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from minipacs.audit.entry import INTERRUPTED, NewEntry
from minipacs.audit.reached import Reached
from minipacs.audit.spool import SpoolRecord

REPEAT_WINDOW_S = 300.0
"""The same look within so many seconds after the first is counted, not written."""


class MergerState(Struct):
    """What is kept of a spool between two batches, and across the end of a process."""

    file_number: int = 0
    offset: int = 0
    """Up to where the file of this number was read."""
    begun: dict[int, NewEntry] = field(default_factory=dict)
    """Acts that began, by their number."""
    repeats: dict[str, NewEntry] = field(default_factory=dict)
    """Looks that were counted and are not written yet, by what makes them the same."""


class RepeatMerger:
    """Turns the records of one spool into entries."""

    def __init__(self, state: MergerState | None = None) -> None:
        self.state = state or MergerState()
        self._looks: dict[int, NewEntry] = {}
        """Looks of the file that is being read, by their number: records of repeats refer to them."""
        self._ends: dict[str, float] = {}
        """When the time of a look is over, after which the same is a new entry."""

    def start_file(self, number: int) -> None:
        """Begin with the next file: no record in it refers to an earlier one."""
        self.state.file_number, self.state.offset = number, 0
        self._looks.clear()

    def note_look(self, record: SpoolRecord) -> None:
        """Remember a look that was read before: later records refer to it."""
        if record.entry is not None and record.entry.is_look:
            self._looks[record.number] = record.entry

    def take(self, record: SpoolRecord) -> tuple[int, NewEntry, float] | None:
        """What a record is: number, entry and time of what is to be written or counted; nothing yet.

        The records of a look and of its repeats have the same number and the same entry.
        """
        entry = record.entry
        if entry is None:
            look = self._looks.get(record.number)
            return (record.number, look, record.at) if look is not None else None
        if record.begins:
            self.state.begun[record.number] = entry
            return None

        self.state.begun.pop(record.number, None)
        self.note_look(record)
        return (record.number, entry, entry.at)

    def merge(self, entries: Sequence[tuple[int, NewEntry, float]], reached: Mapping[int, Reached]) -> list[NewEntry]:
        """The entries that are to be written now; the others are counted. `reached`: of looks, by their number."""
        keys = {number: make_key(entry, reached[number]) for number, entry, _ in entries if entry.is_look}
        written = []
        for number, entry, at in entries:
            if not entry.is_look:
                written.append(entry)
                continue

            key = keys[number]
            if at > self._ends.get(key, 0.0):
                self._ends[key] = at + REPEAT_WINDOW_S
                written.append(replace(entry, at=at))
            else:
                self._count(key, entry, at)
        return written

    def take_repeats(self, *, at: float | None = None) -> list[NewEntry]:
        """The looks that were counted, as entries; with `at`, those whose time is over then."""
        due = [key for key, one in self.state.repeats.items() if at is None or one.at + REPEAT_WINDOW_S < at]
        now = time.time()
        self._ends = {key: end for key, end in self._ends.items() if end > now}
        return [self.state.repeats.pop(key) for key in due]

    def take_interrupted(self) -> list[NewEntry]:
        """The acts that began and did not end: their process is no more."""
        interrupted = [replace(entry, status=INTERRUPTED) for entry in self.state.begun.values()]
        self.state.begun.clear()
        return interrupted

    def _count(self, key: str, entry: NewEntry, at: float) -> None:
        known = self.state.repeats.get(key)
        if known is None:
            self.state.repeats[key] = replace(entry, at=at)
            return
        known.count += entry.count
        known.last_at = at
        known.disclosed = max(known.disclosed, entry.disclosed)


def make_key(look: NewEntry, reached: Reached) -> str:
    """What makes two looks the same: user, address, outcome, and study or patient; without them what was asked."""
    one = (reached.study, reached.patient)
    about = one if any(one) else (look.path, look.query, *look.uids, *look.patients)
    return "\n".join((look.user, look.by, look.address, look.action, str(look.status), *about))
