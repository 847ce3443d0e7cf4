"""What an answer shows, for its audit entry: views, and what makes rows for them, note it while they answer.

A route whose address names its study or patient need not: the audit reads the address.
"""

from collections.abc import Iterable
from typing import Any, cast

from flask import g, has_request_context

from minipacs.audit.entry import MAX_NAMED, AuditEntry

LEVELS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
"""The attribute that names a row's place: the highest level it has."""


class Disclosure:
    """Studies, series, instances and patients of one answer, each once, and the number of its rows."""

    def __init__(self) -> None:
        self.uids: dict[str, None] = {}
        self.patients: dict[str, None] = {}
        self.rows = 0
        self.is_streamed = False
        """More is noted while the answer is sent: a second entry at its end has all of it."""

    def add(self, uids: Iterable[str | None] = (), patients: Iterable[str | None] = (), rows: int = 0) -> None:
        """Note what a part of the answer shows."""
        for kept, more in ((self.uids, uids), (self.patients, patients)):
            for name in more:
                if name and len(kept) < MAX_NAMED:
                    kept[name] = None
        self.rows += rows


def current_disclosure() -> Disclosure:
    """What the answer of this request shows; a view that streams keeps it, and adds to it while it sends."""
    if "disclosure" not in g:
        g.disclosure = Disclosure()
    return cast(Disclosure, g.disclosure)


def stream_disclosure() -> Disclosure:
    """The same, of an answer that is made while it is sent."""
    disclosure = current_disclosure()
    disclosure.is_streamed = True
    return disclosure


def note_disclosed(uids: Iterable[str | None] = (), patients: Iterable[str | None] = (), rows: int = 0) -> None:
    """Note what the answer of this request shows; outside of a request nothing is disclosed."""
    if has_request_context():
        current_disclosure().add(uids, patients, rows)


def note_rows(rows: Iterable[Any]) -> None:
    """Note rows of the catalogue or of the jobs, by the highest level that each names."""
    rows = list(rows)
    if rows and isinstance(rows[0], AuditEntry):
        note_disclosed(rows=len(rows))  # whoever reads the audit saw the entries, not the studies
    elif rows:
        name = next((level for level in LEVELS if hasattr(rows[0], level)), "patient_key")
        places = [getattr(row, name, None) for row in rows]
        note_disclosed(() if name == "patient_key" else places, places if name == "patient_key" else (), len(rows))
