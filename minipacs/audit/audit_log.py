"""The audit of one process: entries go to the spool at once, and a thread delivers them to the database."""

import atexit
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from minipacs.audit.chain import Chain, audit_folder
from minipacs.audit.delivery import SpoolDelivery, deliver_abandoned_spools
from minipacs.audit.entry import NewEntry
from minipacs.audit.repeats import REPEAT_WINDOW_S
from minipacs.audit.spool import SpoolRecord, SpoolWriter
from minipacs.database import Database
from minipacs.errors import CatalogueUnavailable

log = logging.getLogger(__name__)
DELIVERY_INTERVAL_S = 0.5
ABANDONED_INTERVAL_S = 60.0
"""Interval at which spools of processes that have ended are looked for."""
LONGEST_PAUSE_S = 60.0
"""Between two attempts, after a fault that is not the database's."""
JOIN_TIMEOUT_S = 10.0
MAX_REMEMBERED = 100_000
"""Looks that are remembered, so that their repeats take a few bytes; more are written out."""

Key = tuple[str, ...]


class AuditLog:
    """Where this process notes what is done. Safe to share between threads."""

    def __init__(self, database: Database, home: Path, *, delivers: bool = True) -> None:
        """`delivers`: a thread takes the entries to the database; otherwise `close` does, or another process."""
        self._delivers = delivers
        self._database, self._home = database, home
        self._spool = SpoolWriter(audit_folder(home))
        self._numbers = itertools.count(1)
        self._looks: dict[Key, tuple[int, int, float]] = {}
        """Of each look: its number, the file of the spool that has it, when its time is over."""
        self._delivering = threading.Lock()
        self._delivery: SpoolDelivery | None = None
        self._chain: Chain | None = None
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._last_warning = ""

    def add(self, entry: NewEntry, *, is_durable: bool = True) -> None:
        """Write an entry to the spool; `is_durable`: it also survives a loss of power.

        Raises:
            AuditUnavailable: it stands nowhere; what it notes must not be answered.
        """
        self._write(SpoolRecord(next(self._numbers), entry), is_durable=is_durable)

    def add_look(self, about: Key, at: float, make_entry: Callable[[], NewEntry]) -> None:
        """Write a look: whole, or, when it is a repeat within minutes, by its number and time alone.

        Args:
            about: what makes two looks the same.
            at: when, in seconds since 1970.
            make_entry: called when the look is written whole.
        """
        known = self._looks.get(about)
        if known is not None and known[2] > at:
            number, file_number, _ = known
            if self._spool.write_repeat(SpoolRecord(number, at=at), file_number):
                return

        number = next(self._numbers)
        file_number = self._write(SpoolRecord(number, make_entry()))
        if len(self._looks) >= MAX_REMEMBERED:
            self._looks.clear()
        self._looks[about] = (number, file_number, at + REPEAT_WINDOW_S)

    def begin(self, entry: NewEntry) -> int:
        """Note an act before it is done: should its end never be noted, it stands there as interrupted."""
        number = next(self._numbers)
        self._write(SpoolRecord(number, entry, begins=True))
        return number

    def end(self, number: int, entry: NewEntry) -> None:
        """Note how the act of this number ended."""
        self._write(SpoolRecord(number, entry), is_durable=True)

    def flush(self) -> None:
        """Deliver everything that this process noted; looks that were counted become entries."""
        self._deliver(whole=True)

    def deliver_abandoned(self) -> None:
        """Deliver what processes that have ended left behind."""
        with self._delivering:
            deliver_abandoned_spools(self._database, self._open_chain(), self._home, time.time())

    def close(self, *, delivering: bool = True) -> None:
        """Deliver the rest, and end the thread. What the database does not take is delivered by another process."""
        atexit.unregister(self.close)
        self._stop.set()
        if self._thread is not None:
            self._thread.join(JOIN_TIMEOUT_S)
            self._thread, self._stop = None, threading.Event()

        with self._delivering:
            lock, name = self._spool.detach()  # whoever writes meanwhile begins another: these files are deleted
            delivery, self._delivery = self._delivery, None
            try:
                if delivering and name:
                    delivery = delivery or self._open_delivery(name)
                    delivery.deliver(time.time(), ended=True)
                    delivery.remove()
            except CatalogueUnavailable as error:
                log.warning("audit entries wait in %s: %s", audit_folder(self._home), error)
            finally:
                if lock >= 0:
                    os.close(lock)

    def _write(self, record: SpoolRecord, *, is_durable: bool = False) -> int:
        file_number = self._spool.write(record, is_durable=is_durable)
        if self._delivers and self._thread is None:
            self._start_thread()
        return file_number

    def _start_thread(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(self._stop,), name="audit", daemon=True)
                self._thread.start()
                atexit.register(self.close)

    def _run(self, stop: threading.Event) -> None:
        abandoned_after, pause = 0.0, DELIVERY_INTERVAL_S
        while not stop.wait(pause):
            try:
                self._deliver(whole=False)
                if time.monotonic() > abandoned_after:
                    self.deliver_abandoned()
                    abandoned_after = time.monotonic() + ABANDONED_INTERVAL_S
                self._last_warning, pause = "", DELIVERY_INTERVAL_S
            except CatalogueUnavailable as error:
                if str(error) != self._last_warning:
                    log.warning("audit entries wait in %s: %s", audit_folder(self._home), error)
                self._last_warning = str(error)
            except Exception:
                pause = min(pause * 2, LONGEST_PAUSE_S)
                log.exception("audit entries wait in %s", audit_folder(self._home))

    def _deliver(self, *, whole: bool) -> None:
        with self._delivering:
            name = self._spool.name
            if not name:
                return
            self._delivery = self._delivery or self._open_delivery(name)
            self._delivery.deliver(time.time(), whole=whole)

    def _open_delivery(self, name: str) -> SpoolDelivery:
        return SpoolDelivery(self._database, self._open_chain(), audit_folder(self._home), name)

    def _open_chain(self) -> Chain:
        if self._chain is None:
            self._chain = Chain(self._database, self._home)
        return self._chain
