"""Delivery: from the spools into the audit. A record becomes an entry once, whatever ends in between.

How far a spool was read is written in the transaction of the entries made of it (`AuditSpool`).
"""

import logging
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec
from msgspec.structs import asdict, replace
from sqlalchemy import delete
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import Session

from minipacs.audit.chain import Chain, audit_folder
from minipacs.audit.entry import MAX_NAME_CHARACTERS, AuditChain, AuditSpool, EntryRow, NewEntry, clean_text
from minipacs.audit.reached import Reached, find_reached
from minipacs.audit.repeats import MergerState, RepeatMerger
from minipacs.audit.spool import list_spool_files, lock_abandoned_spools, read_records
from minipacs.database import Database, is_fault_of_value
from minipacs.errors import CatalogueUnavailable

log = logging.getLogger(__name__)
RECORDS_AT_ONCE = 2000
UNDELIVERABLE: set[Path] = set()
"""Spools of which the log says that they could not be delivered. They are tried again all the same."""
MAX_REFUSED_CHARACTERS = 200
"""Of each text of an entry that the database refused as it was."""


class SpoolDelivery:
    """Reads one spool into the audit; one thread at a time."""

    def __init__(self, database: Database, chain: Chain, folder: Path, name: str) -> None:
        self._database, self._chain, self._folder, self._name = database, chain, folder, name
        self._merger: RepeatMerger | None = None

    def deliver(self, now: float, *, whole: bool = False, ended: bool = False) -> None:
        """Write what stands in the spool. `whole`: also the looks whose time is not over.

        `ended`: the process is no more: what it began was interrupted, and its files are deleted.

        Raises:
            CatalogueUnavailable: nothing is lost; the next call begins where the last one ended.
        """
        try:
            self._deliver_files(now, whole=whole, ended=ended)
        except BaseException:
            self._merger = None  # it may be ahead of the database
            raise

    def _deliver_files(self, now: float, *, whole: bool, ended: bool) -> None:
        merger = self._merger = self._merger or self._load_merger()

        files = list_spool_files(self._folder, self._name)
        for file in files:
            number = read_file_number(file)
            if number < merger.state.file_number:
                file.unlink()  # delivered before, and not deleted
                continue
            if number > merger.state.file_number:
                merger.start_file(number)
            self._deliver_file(merger, file)
            if file != files[-1]:
                self._write(merger, [])
                file.unlink()

        repeats = merger.take_repeats(at=None if whole or ended else now)
        interrupted = merger.take_interrupted() if ended else []
        if repeats or interrupted:
            self._write(merger, [*repeats, *interrupted])

    def _deliver_file(self, merger: RepeatMerger, file: Path) -> None:
        records = read_records(file, merger.state.offset)
        while batch := list(islice(records, RECORDS_AT_ONCE)):
            taken = [one for record, _ in batch if (one := merger.take(record)) is not None]
            merger.state.offset = batch[-1][1]
            reached = self._find_reached({number: entry for number, entry, _ in taken if entry.is_look})
            if entries := merger.merge(taken, reached):
                self._write(merger, entries)

    def _find_reached(self, looks: dict[int, NewEntry]) -> dict[int, Reached]:
        """What each look reached, asked once for all its repeats that are delivered at once."""
        if not looks:
            return {}
        with self._database.reading() as session:
            return dict(zip(looks, find_reached(session, looks.values()), strict=True))

    def _write(self, merger: RepeatMerger, entries: list[NewEntry]) -> None:
        """Append the entries, and how far the spool was read, in one transaction."""
        with self._database.reading() as session:
            rows = [make_row(entry, one) for entry, one in zip(entries, find_reached(session, entries), strict=True)]

        try:
            self._write_rows(merger, rows, self._chain.append)
        except DataError:
            self._write_rows(merger, rows, self._append_singly)

    def _write_rows(
        self, merger: RepeatMerger, rows: list[EntryRow], append: Callable[[Session, list[EntryRow]], AuditChain]
    ) -> None:
        state = msgspec.json.encode(merger.state).decode()
        with self._database.writing() as session:
            ends = append(session, rows)
            known = self._database.build_insert(AuditSpool).values(name=self._name, state=state)
            session.execute(known.on_conflict_do_update(index_elements=["name"], set_={"state": state}))
            last_id, last = ends.last_id, ends.last
        self._chain.keep_head(last_id, last)

    def _append_singly(self, session: Session, rows: list[EntryRow]) -> AuditChain:
        """Append each row by itself; one that the database refuses is appended with its texts cut."""
        ends = self._chain.lock(session)
        for row in rows:
            try:
                with session.begin_nested():
                    ends = self._chain.append(session, [row])
            except DBAPIError as error:
                if not is_fault_of_value(error):
                    raise
                ends = self._chain.append(session, [cut_texts(row)])
                log.warning("the database refused entry %d of the audit: its texts were cut", ends.last_id)
        return ends

    def _load_merger(self) -> RepeatMerger:
        """Where the last delivery of this spool ended, by the database."""
        with self._database.reading() as session:
            known = session.get(AuditSpool, self._name)
            state = msgspec.json.decode(known.state, type=MergerState) if known is not None else None
        merger = RepeatMerger(state)
        for file in list_spool_files(self._folder, self._name):
            if read_file_number(file) == merger.state.file_number:
                for record, after in read_records(file, 0):
                    if after > merger.state.offset:
                        break
                    merger.note_look(record)
        return merger

    def remove(self) -> None:
        """Delete the files of a spool that was delivered to its end, and what the database knows of it."""
        for file in list_spool_files(self._folder, self._name):
            file.unlink(missing_ok=True)
        with self._database.writing() as session:
            session.execute(delete(AuditSpool).where(AuditSpool.name == self._name))
        (self._folder / f"{self._name}.lock").unlink(missing_ok=True)


def deliver_abandoned_spools(database: Database, chain: Chain, home: Path, now: float) -> None:
    """Write what processes that have ended left behind; each spool is taken by one process.

    One that cannot be delivered is logged once, stays, and stops no other.

    Raises:
        CatalogueUnavailable: nothing is lost.
    """
    folder = audit_folder(home)
    for _lock, name in lock_abandoned_spools(folder):
        delivery = SpoolDelivery(database, chain, folder, name)
        try:
            delivery.deliver(now, ended=True)
            delivery.remove()
        except CatalogueUnavailable:
            raise  # the others would wait for it too
        except Exception:
            if folder / name not in UNDELIVERABLE:
                log.exception("audit entries wait in %s: spool %s cannot be delivered", folder, name)
            UNDELIVERABLE.add(folder / name)


def read_file_number(file: Path) -> int:
    """The number of a spool's file."""
    return int(os.path.splitext(file.stem)[1][1:])


def make_row(entry: NewEntry, reached: Reached) -> EntryRow:
    """The row of an entry. One study or patient stands in its own column, several in the list."""
    return EntryRow(
        at=entry.at,
        last_at=entry.last_at,
        count=entry.count,
        user=entry.user[:MAX_NAME_CHARACTERS],
        by=entry.by,
        address=entry.address,
        action=entry.action,
        method=entry.method,
        path=entry.path,
        status=entry.status,
        study_instance_uid=reached.study[:MAX_NAME_CHARACTERS] or None,
        patient_key=reached.patient[:MAX_NAME_CHARACTERS] or None,
        query=entry.query,
        studies=" ".join(reached.studies) if len(reached.studies) > 1 else "",
        patients="\n".join(reached.patients) if len(reached.patients) > 1 else "",
        disclosed=entry.disclosed,
    )


def cut_texts(row: EntryRow) -> EntryRow:
    """The same row in characters that every database takes, each text at most `MAX_REFUSED_CHARACTERS` long."""
    return replace(row, **{name: _cut(value) for name, value in asdict(row).items() if isinstance(value, str)})


def _cut(text: str) -> str:
    return clean_text(text).encode("ascii", "replace").decode()[:MAX_REFUSED_CHARACTERS]
