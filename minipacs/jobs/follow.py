"""Doorbell, change log, reconcile → jobs.

The doorbell (a datagram from Orthanc's plugin) is quick and may be missed. Orthanc's change log is durable:
its cursor moves in the same transaction as the due times it sets. A study is
due when Orthanc calls it stable, or when its last new instance is older than a quiet time of ours
(Orthanc forgets to call a study stable when it stops before that). A slow reconcile finds what
neither said: studies that were never planned, and deletions, which do not stand in the log.
"""

import logging
import socket
import time
from collections.abc import Iterable

from sqlalchemy import Double, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from minipacs.archive.client import Archive, Changes
from minipacs.archive.content import StudyContent
from minipacs.change_log import ChangeLogCursor, new_resources, read_change_log
from minipacs.database import Database
from minipacs.errors import NotInArchive
from minipacs.jobs.contract import works
from minipacs.jobs.queue import JobQueue
from minipacs.settings import Settings
from minipacs.tables import Base

log = logging.getLogger(__name__)


class FollowedStudy(Base):
    """A study the archive told of; `due` is when it is looked at next, or null when it was planned."""

    __tablename__ = "followed_study"

    study_id: Mapped[str] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(default="")
    due: Mapped[float | None] = mapped_column(Double)
    rung: Mapped[bool] = mapped_column(default=False)
    """Whether Orthanc called it stable; if that no longer holds, the study waits for its quiet time."""


class PlannerCursor(Base):
    """The planner's cursor in the archive's change log."""

    __tablename__ = "letter_box"

    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column("last", key="position")


def planner_cursor(database: Database) -> ChangeLogCursor:
    """How far the planner has read the change log."""
    return ChangeLogCursor(database, PlannerCursor, "follow")


class Doorbell:
    """Hears the plugin ring: datagrams `stable <Orthanc's study identifier>`."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(address)

    def listen(self, seconds: float) -> set[str]:
        """Wait up to so long for a ring; the studies that rang."""
        rung: set[str] = set()
        deadline = time.monotonic() + seconds
        self._socket.settimeout(max(seconds, 0.001))
        while True:
            try:
                word, _, study_id = self._socket.recv(512).decode("ascii", "replace").partition(" ")
            except TimeoutError:
                return rung
            if word == "stable" and study_id:
                rung.add(study_id.strip())
            self._socket.settimeout(0.001 if rung else max(deadline - time.monotonic(), 0.001))

    def close(self) -> None:
        """Take the bell off the door."""
        self._socket.close()


class Follower:
    """Turns what the archive says into rows of the job table."""

    def __init__(self, settings: Settings, archive: Archive, database: Database) -> None:
        self.settings, self.archive, self.database = settings, archive, database
        self.jobs = JobQueue(database, attempt_limit=settings.attempts)
        self._cursor = planner_cursor(database)
        self._reconciled = -float("inf")

    def step(self, rung: Iterable[str] = ()) -> int:
        """Read the log, remember rings, plan what is due, reconcile now and then; how many jobs were queued."""
        self.read_change_log()
        self._ring(self.archive.studies_of(rung))
        if time.monotonic() - self._reconciled > self.settings.reconcile_s:
            self.reconcile()
            self._reconciled = time.monotonic()
        return sum(self.plan(study_id) for study_id in self._due())

    def read_change_log(self) -> None:
        """Move the cursor to the end of the change log, setting due times in the same transactions."""
        for page in read_change_log(self.archive, self._cursor):
            self._remember(page)

    def _remember(self, page: Changes) -> None:
        new = self.archive.studies_of(new_resources(page))
        stable = self.archive.studies_of(entry.resource_id for entry in page.entries if entry.type == "StableStudy")
        with self.database.writing() as session:
            self._set_due(session, new, after_s=self.settings.quiet_s, rung=False)
            self._set_due(session, stable, after_s=0, rung=True)
            self._cursor.move(session, page.last)

    def _ring(self, study_ids: set[str]) -> None:
        if study_ids:
            with self.database.writing() as session:
                self._set_due(session, study_ids, after_s=0, rung=True)

    def _set_due(self, session: Session, study_ids: Iterable[str], *, after_s: float, rung: bool) -> None:
        for study_id in sorted(study_ids):
            due = self.database.now() + after_s
            insert = self.database.insert(FollowedStudy).values(
                study_id=study_id, due=due, rung=rung, study_instance_uid=""
            )
            session.execute(
                insert.on_conflict_do_update(
                    index_elements=["study_id"], set_={"due": insert.excluded.due, "rung": rung}
                )
            )

    def _due(self) -> list[str]:
        with self.database.reading() as session:
            due = select(FollowedStudy.study_id).where(FollowedStudy.due <= self.database.now())
            return list(session.scalars(due.order_by(FollowedStudy.due)))

    def plan(self, study_id: str) -> int:
        """Ask every kind of work what this study needs and queue it; how many rows are new."""
        with self.database.reading() as session:
            followed = session.get_one(FollowedStudy, study_id)
            due, rung = followed.due, followed.rung
        try:
            if rung and not self.archive.is_stable(study_id):  # instances came after the ring
                self._postpone(study_id)
                return 0
            study = self.archive.study(study_id)
        except NotInArchive:
            self._forget(study_id)
            return 0
        orders = [order for work in works().values() for order in work.orders(study, self.settings)]
        with self.database.writing() as session:
            self.jobs.retry_lost(session, study)
            fresh = sum(self.jobs.submit(session, order) for order in orders)
            planned = update(FollowedStudy).where(FollowedStudy.study_id == study_id, FollowedStudy.due == due)
            session.execute(planned.values(due=None, study_instance_uid=study.study_instance_uid))
        if fresh:
            log.info("study %s: %d new jobs", study.study_instance_uid, fresh)
        return fresh

    def _postpone(self, study_id: str) -> None:
        with self.database.writing() as session:
            self._set_due(session, [study_id], after_s=self.settings.quiet_s, rung=False)

    def reconcile(self) -> None:
        """Compare the archive's studies with ours: plan what was never planned, forget what is gone."""
        held = set(self.archive.studies())
        with self.database.reading() as session:
            followed = set(session.scalars(select(FollowedStudy.study_id)))
        for study_id in sorted(followed - held):
            self._forget(study_id)
        with self.database.writing() as session:
            self._set_due(session, held - followed, after_s=0, rung=False)

    def _forget(self, study_id: str) -> None:
        """A deleted study: every kind of work hears that it is empty now, and nothing counts as done for it."""
        with self.database.writing() as session:
            followed = session.get(FollowedStudy, study_id)
            if followed is None:
                return
            if followed.study_instance_uid:
                self.jobs.forget_ended(session, followed.study_instance_uid)
                gone = StudyContent(study_id, followed.study_instance_uid, ())
                for work in works().values():
                    for order in work.orders(gone, self.settings):
                        self.jobs.submit(session, order)
            session.delete(followed)
