"""Notifications of ended jobs: an outbox in the database, and a thread that delivers what is in it.

Work never waits for it: the outbox is filled from the job table afterwards. A notification is kept until it
was delivered, tried again with back-off for about a day, and delivered at least once (`X-Minipacs-Delivery` is
the same every time).
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import TypedDict

from sqlalchemy import JSON, Double, UniqueConstraint, and_, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from minipacs import setting_values
from minipacs.database import Database
from minipacs.errors import CatalogueUnavailable, MinipacsError
from minipacs.jobs.record import Job
from minipacs.notifications.delivery import JobEvent, post_webhook, send_mail
from minipacs.settings import Settings
from minipacs.tables import Base

POLL_INTERVAL_S = 2.0
LONGEST_PAUSE_S = 60.0
"""Between two attempts, after a fault that is not the database's."""
FIRST_RETRY_S = 5.0
"""Wait before a notification is tried again; doubled each time, up to `MAX_RETRY_S`."""
MAX_RETRY_S = 4 * 3600.0
MAX_TRIES = 16
BATCH_SIZE = 20
"""Most notifications delivered between two looks at the job table."""
CLAIM_S = 60.0
"""A notifier that claimed a notification has this long to deliver it; then another may."""
OVERLAP_S = 300.0
"""Jobs that ended this long before the last one seen are read again: commits do not come in order."""
JOIN_TIMEOUT_S = 2.0
RETENTION_S = 30 * 86400.0
"""How long a notification is kept after it was delivered or given up."""
POLLS_PER_DELETION = 1800

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
    event: Mapped[JobEvent] = mapped_column(JSON)
    tries: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float | None] = mapped_column(Double, index=True)
    """When it is tried next; null when it was delivered or given up."""
    error: Mapped[str] = mapped_column(default="")


class NewNotification(TypedDict):
    """The columns of a new notification."""

    job_id: int
    ended: float
    receiver: str
    event: JobEvent
    tries: int
    not_before: float
    error: str


class Watermark(Base):
    """How far the job table was read into the outbox; one row. Times in seconds since 1970."""

    __tablename__ = "notification_watermark"
    id: Mapped[int] = mapped_column(primary_key=True)
    first: Mapped[float] = mapped_column(Double)
    """When notifications were switched on: jobs that ended earlier are not reported."""
    seen: Mapped[float] = mapped_column(Double)
    """The newest end that was put into the outbox."""


class Notifier:
    """Fills the outbox and delivers from it. Several may run: each notification is claimed by one."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._thread: threading.Thread | None = None
        self._states = setting_values.parse_notify_on(settings.notify_on)
        urls = setting_values.parse_webhook_urls(settings.webhook_url)
        self._deliver: dict[str, Callable[[int, JobEvent], None]] = {
            **{name_webhook(url): partial(post_webhook, settings, url) for url in urls},
            **{f"mail:{to}": partial(send_mail, settings, to) for to in setting_values.parse_list(settings.mail_to)},
        }

    @property
    def receivers(self) -> list[str]:
        """The receivers of the settings: `mail:` + address, or the name of a webhook."""
        return list(self._deliver)

    def fill_outbox(self) -> int:
        """Put jobs that ended since the last call into the outbox; how many rows. The first call sets the watermark."""
        with self._database.writing() as session:
            now = session.scalar(select(self._database.now())) or 0.0
            watermark = session.get(Watermark, 1)
            if watermark is None:
                session.add(Watermark(id=1, first=now, seen=now))
                return 0

            since = max(watermark.first, watermark.seen - OVERLAP_S)
            ended = select(Job).where(Job.state.in_(self._states), Job.finished >= since).order_by(Job.finished)
            jobs, address = session.scalars(ended), self._settings.front_door_url
            rows = [_build_notification(job, receiver, now, address) for job in jobs for receiver in self._deliver]
            if not rows:
                return 0

            watermark.seen = max(watermark.seen, *(row["ended"] for row in rows))
            new = self._database.build_insert(Notification).on_conflict_do_nothing().returning(Notification.id)
            return len(session.scalars(new, rows).all())

    def deliver_due(self) -> int:
        """Deliver the notifications that are due, oldest first; how many were delivered."""
        with self._database.reading() as session:
            due = select(Notification).where(
                Notification.not_before <= self._database.now(), Notification.receiver.in_(self._deliver)
            )
            waiting = session.scalars(due.order_by(Notification.id).limit(BATCH_SIZE)).all()
            session.expunge_all()
        return sum(self._claim(notification) and self._try_to_deliver(notification) for notification in waiting)

    def _claim(self, notification: Notification) -> bool:
        """Count a try; `False` when another notifier was faster."""
        unclaimed = update(Notification).where(
            Notification.id == notification.id, Notification.tries == notification.tries
        )
        with self._database.writing() as session:
            until = self._database.now() + CLAIM_S
            claimed = unclaimed.values(tries=notification.tries + 1, not_before=until)
            return session.execute(claimed.returning(Notification.id)).first() is not None

    def _try_to_deliver(self, notification: Notification) -> bool:
        """Deliver a claimed notification and record the outcome; whether it was delivered."""
        number, tries = notification.id, notification.tries + 1
        message, retry_s = "", None
        try:
            self._deliver[notification.receiver](number, notification.event)
        except MinipacsError as error:
            message = error.message
            retry_s = min(FIRST_RETRY_S * 2 ** (tries - 1), MAX_RETRY_S) if tries < MAX_TRIES else None
            level = logging.INFO if retry_s else logging.WARNING
            log.log(level, "notification %d, attempt %d: %s", number, tries, error)

        tried = update(Notification).where(Notification.id == number)
        with self._database.writing() as session:
            next_try = None if retry_s is None else self._database.now() + retry_s
            session.execute(tried.values(error=message, not_before=next_try))
        return not message

    def delete_old_notifications(self) -> None:
        """Delete notifications that were delivered or given up long ago."""
        with self._database.writing() as session:
            old = and_(Notification.not_before.is_(None), Notification.ended < self._database.now() - RETENTION_S)
            session.execute(delete(Notification).where(old))

    def start(self, stop: threading.Event) -> None:
        """Run in a thread of its own, where the settings name a receiver."""
        if self._deliver:
            self._thread = threading.Thread(target=self.run, args=(stop,), name="notifier", daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait shortly for the thread; what is not delivered by then is delivered after the next start."""
        if self._thread is not None:
            self._thread.join(JOIN_TIMEOUT_S)

    def run(self, stop: threading.Event) -> None:
        """Fill and deliver until `stop`; a database that does not answer is tried again."""
        polls, pause = 0, POLL_INTERVAL_S
        while not stop.wait(pause):
            try:
                self.fill_outbox()
                self.deliver_due()
                if polls % POLLS_PER_DELETION == 0:
                    self.delete_old_notifications()
                polls, pause = polls + 1, POLL_INTERVAL_S
            except CatalogueUnavailable as error:
                log.warning("%s", error)
            except Exception:
                pause = min(pause * 2, LONGEST_PAUSE_S)
                log.exception("notifications wait")


def name_webhook(url: str) -> str:
    """The receiver of a row: a digest, for the address may hold a token."""
    return f"webhook:{sha256(url.encode()).hexdigest()[:16]}"


def _build_notification(job: Job, receiver: str, now: float, address: str) -> NewNotification:
    """The row of an ended job for one receiver, due now; `address` is that of the front door."""
    ended = job.finished or now
    event: JobEvent = {
        "event": f"job.{job.state}",
        "ended": ended,
        "url": f"{address}/jobs/{job.id}",
        "job": {
            "id": job.id,
            "kind": job.kind,
            "state": job.state,
            "study_instance_uid": job.study_instance_uid,
            "attempt": job.attempt,
            "error": job.error,
            "hint": job.hint,
            "created": job.created,
            "started": job.started,
            "finished": job.finished,
        },
    }
    return {
        "job_id": job.id,
        "ended": ended,
        "receiver": receiver,
        "event": event,
        "tries": 0,
        "not_before": now,
        "error": "",
    }
