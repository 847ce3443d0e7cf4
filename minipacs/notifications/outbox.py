"""Ended jobs, told to those who asked: an outbox in the database, and a thread that empties it.

Work never waits for it: the outbox is filled from the job table afterwards. A notification is kept until it
was taken, tried again with back-off for about a day, and told at least once (`X-Minipacs-Delivery` is the
same every time). It bears UIDs and our own sentences, never a name.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import JSON, Double, UniqueConstraint, and_, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from minipacs import setting_values
from minipacs.database import Database
from minipacs.errors import CatalogueUnavailable, MinipacsError
from minipacs.jobs.record import Job
from minipacs.notifications.delivery import mail, post
from minipacs.settings import Settings
from minipacs.tables import Base

POLL_S = 2.0
FIRST_WAIT_S, LONGEST_WAIT_S, TRIES = 5.0, 4 * 3600.0, 16
HELD_S = 60.0
"""Who took one to send has so long; then another may."""
OVERLAP_S = 300.0
"""Jobs that ended so long before the last one seen are looked at again: commits do not come in order."""
JOIN_S = 2.0
KEPT_S = 30 * 86400.0

log = logging.getLogger(__name__)


class Notification(Base):
    """One end of one job, for one receiver."""

    __tablename__ = "notification"
    __table_args__ = (UniqueConstraint("job_id", "ended", "receiver"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int]
    ended: Mapped[float] = mapped_column(Double)
    receiver: Mapped[str]
    """`webhook:` or `mail:` + address."""
    event: Mapped[dict[str, Any]] = mapped_column(JSON)
    tries: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float | None] = mapped_column(Double, index=True)
    """When it is tried next; null when it was taken or given up."""
    error: Mapped[str] = mapped_column(default="")


class Watermark(Base):
    """How far the outbox looked; one row. Times in seconds since 1970."""

    __tablename__ = "notification_watermark"
    id: Mapped[int] = mapped_column(primary_key=True)
    first: Mapped[float] = mapped_column(Double)
    """When somebody asked to be told: what ended earlier is not news."""
    seen: Mapped[float] = mapped_column(Double)
    """The newest end that was put into the outbox."""


class Notifier:
    """Fills the outbox and empties it. Several may run: each notification is taken by one."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._thread: threading.Thread | None = None
        self._on = setting_values.parse_notify_on(settings.notify_on)
        urls = setting_values.parse_webhook_urls(settings.webhook_url)
        self._ways: dict[str, Callable[[int, dict[str, Any]], None]] = {
            **{f"webhook:{url}": partial(post, settings, url) for url in urls},
            **{f"mail:{to}": partial(mail, settings, to) for to in setting_values.parse_list(settings.mail_to)},
        }

    @property
    def receivers(self) -> list[str]:
        """Who is told; empty: nobody asked."""
        return list(self._ways)

    def fill(self) -> int:
        """Put what ended since the last look into the outbox; how many. The very first look only sets the mark."""
        with self._database.writing() as session:
            now = session.scalar(select(self._database.now())) or 0.0
            mark = session.get(Watermark, 1)
            if mark is None:
                session.add(Watermark(id=1, first=now, seen=now))
                return 0
            since = max(mark.first, mark.seen - OVERLAP_S)
            ended = select(Job).where(Job.state.in_(self._on), Job.finished >= since).order_by(Job.finished)
            rows = [self._row(job, receiver, now) for job in session.scalars(ended) for receiver in self._ways]
            if not rows:
                return 0
            mark.seen = max(mark.seen, *(row["ended"] for row in rows))
            new = self._database.insert(Notification).on_conflict_do_nothing().returning(Notification.id)
            return len(session.scalars(new, rows).all())

    def empty(self) -> int:
        """Send what is due; how many were taken."""
        taken = 0
        with self._database.reading() as session:
            due = select(Notification).where(
                Notification.not_before <= self._database.now(), Notification.receiver.in_(self._ways)
            )
            waiting = [
                (n.id, n.tries, n.receiver, n.event) for n in session.scalars(due.order_by(Notification.id).limit(20))
            ]
        for number, tries, receiver, event in waiting:
            if self._take(number, tries):
                taken += self._send(number, tries + 1, receiver, event)
        return taken

    def _take(self, number: int, tries: int) -> bool:
        with self._database.writing() as session:
            mine = and_(Notification.id == number, Notification.tries == tries)
            held = update(Notification).where(mine).values(tries=tries + 1, not_before=self._database.now() + HELD_S)
            return session.execute(held.returning(Notification.id)).first() is not None

    def _send(self, number: int, tries: int, receiver: str, event: dict[str, Any]) -> bool:
        error, wait = "", None
        try:
            self._ways[receiver](number, event)
        except MinipacsError as trouble:
            error = trouble.message
            wait = min(FIRST_WAIT_S * 2 ** (tries - 1), LONGEST_WAIT_S) if tries < TRIES else None
            log.log(
                logging.INFO if wait else logging.WARNING, "notification %d, attempt %d: %s", number, tries, trouble
            )
        with self._database.writing() as session:
            next_try = None if wait is None else self._database.now() + wait
            session.execute(
                update(Notification).where(Notification.id == number).values(error=error, not_before=next_try)
            )
        return not error

    def _row(self, job: Job, receiver: str, now: float) -> dict[str, Any]:
        told = (
            "id",
            "kind",
            "state",
            "study_instance_uid",
            "attempt",
            "error",
            "hint",
            "created",
            "started",
            "finished",
        )
        event = {
            "event": f"job.{job.state}",
            "ended": job.finished,
            "url": f"{self._settings.address}/jobs/{job.id}",
            "job": {name: getattr(job, name) for name in told},
        }
        return {
            "job_id": job.id,
            "ended": job.finished,
            "receiver": receiver,
            "event": event,
            "tries": 0,
            "not_before": now,
            "error": "",
        }

    def prune(self) -> None:
        """Forget what was told long ago."""
        with self._database.writing() as session:
            old = and_(Notification.not_before.is_(None), Notification.ended < self._database.now() - KEPT_S)
            session.execute(delete(Notification).where(old))

    def start(self, stop: threading.Event) -> None:
        """Run in a thread of its own, where somebody asked to be told."""
        if self._ways:
            self._thread = threading.Thread(target=self.run, args=(stop,), name="notifier", daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait a little; what was not sent is sent after the next start."""
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; a database that is away is tried again."""
        looks = 0
        while not stop.wait(POLL_S):
            try:
                self.fill()
                self.empty()
                if looks % 1800 == 0:
                    self.prune()
                looks += 1
            except CatalogueUnavailable as error:
                log.warning("%s", error)
