"""Queues jobs for what happens in the archive.

The notification of Orthanc's plugin is quick and may be lost. Orthanc's change log is durable: its cursor
moves in the same transaction as the due times it sets. A study is due when Orthanc calls it stable, or when
its last new instance is older than a quiet time of ours (Orthanc forgets to call a study stable when it stops
before that). A slow reconciliation finds what neither said: studies that were never planned, and deletions,
which do not stand in the log.
"""

import logging
import time
from collections.abc import Iterable

from sqlalchemy import Double, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from minipacs.archive.client import Archive, ChangePage
from minipacs.archive.content import StudyContent
from minipacs.catalogue import ARCHIVE_PREFIX, find_rejections_below_limits, repeat_rejections
from minipacs.change_log import ChangeLogCursor, find_new_resources, read_change_log
from minipacs.database import Database
from minipacs.errors import ArchiveUnreachable, CatalogueUnavailable, NotInArchive
from minipacs.groups.reservation import settle_reservations
from minipacs.jobs.contract import Order, kinds_of_work
from minipacs.jobs.queue import JobQueue
from minipacs.memory.process_limit import compute_limits
from minipacs.settings import Settings
from minipacs.tables import Base

log = logging.getLogger(__name__)

CATALOGUE_KIND = "catalogue"
"""Of work: the ETL's."""


class FollowedStudy(Base):
    """A study of the archive, as the planner knows it."""

    __tablename__ = "followed_study"

    study_id: Mapped[str] = mapped_column(primary_key=True)
    """Orthanc's identifier."""
    study_instance_uid: Mapped[str] = mapped_column(default="")
    """Empty before the study was planned for the first time."""
    due: Mapped[float | None] = mapped_column(Double)
    """When it is planned next, in seconds since 1970; null when it was planned."""
    is_stable: Mapped[bool] = mapped_column("rung", key="is_stable", default=False)
    """Whether Orthanc called it stable; when that no longer holds, the study waits for its quiet time."""


class PlannerCursorRow(Base):
    """The row that holds the planner's cursor in the archive's change log."""

    __tablename__ = "letter_box"  # the names of the first release: a rename would need a migration

    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column("last", key="position")


def open_planner_cursor(database: Database) -> ChangeLogCursor:
    """The cursor that says how far the planner has read the change log."""
    return ChangeLogCursor(database, PlannerCursorRow, "follow")


class Planner:
    """Turns changes of the archive into rows of the job table."""

    def __init__(self, settings: Settings, archive: Archive, database: Database) -> None:
        self.settings, self.archive, self.database = settings, archive, database
        self.jobs = JobQueue(database, attempt_limit=settings.attempts)
        self._limits = compute_limits(settings)
        self._cursor = open_planner_cursor(database)
        self._reconciled_at = -float("inf")

    def step(self, notified_studies: Iterable[str] = ()) -> int:
        """Read the change log, plan what is due, reconcile now and then; how many jobs were queued.

        `notified_studies`: Orthanc's identifiers of studies that the plugin called stable.
        """
        self.read_change_log()
        self._mark_stable(self.archive.find_parent_studies(notified_studies))
        if time.monotonic() - self._reconciled_at > self.settings.reconcile_s:
            self.reconcile()
            self._reconciled_at = time.monotonic()
        return sum(self._plan_or_postpone(study_id) for study_id in self._find_due_studies())

    def read_change_log(self) -> None:
        """Move the cursor to the end of the change log, setting due times in the same transactions."""
        for page in read_change_log(self.archive, self._cursor):
            new = self.archive.find_parent_studies(find_new_resources(page))
            stable = self.archive.find_parent_studies(_find_stable_studies(page))
            with self.database.writing() as session:
                self._set_due(session, new, after_s=self.settings.quiet_s, is_stable=False)
                self._set_due(session, stable, after_s=0, is_stable=True)
                self._cursor.move(session, page.last)

    def _mark_stable(self, study_ids: set[str]) -> None:
        if study_ids:
            with self.database.writing() as session:
                self._set_due(session, study_ids, after_s=0, is_stable=True)

    def _set_due(self, session: Session, study_ids: Iterable[str], *, after_s: float, is_stable: bool) -> None:
        due = self.database.now() + after_s
        for study_id in sorted(study_ids):
            insert = self.database.build_insert(FollowedStudy).values(
                study_id=study_id, due=due, is_stable=is_stable, study_instance_uid=""
            )
            session.execute(
                insert.on_conflict_do_update(
                    index_elements=["study_id"], set_={"due": insert.excluded.due, "is_stable": is_stable}
                )
            )

    def _find_due_studies(self) -> list[str]:
        with self.database.reading() as session:
            due = select(FollowedStudy.study_id).where(FollowedStudy.due <= self.database.now())
            return list(session.scalars(due.order_by(FollowedStudy.due)))

    def _plan_or_postpone(self, study_id: str) -> int:
        """Plan a study; one that cannot be planned now waits, and the others do not wait for it."""
        try:
            return self.plan_study(study_id)
        except (ArchiveUnreachable, CatalogueUnavailable):
            raise
        except Exception as error:  # whatever one study's objects do: the loop plans the others
            log.warning("study %s of the archive cannot be planned now (%s)", study_id, type(error).__name__)
            self._postpone_study(study_id)
            return 0

    def plan_study(self, study_id: str) -> int:
        """Ask every kind of work what this study needs, and queue it; how many rows are new."""
        with self.database.reading() as session:
            followed = session.get_one(FollowedStudy, study_id)
            due, is_stable = followed.due, followed.is_stable
        try:
            if is_stable and not self.archive.is_stable(study_id):  # instances came after the notification
                self._postpone_study(study_id)
                return 0
            study = self.archive.read_study(study_id)
        except NotInArchive:
            self._forget_study(study_id)
            return 0

        orders = [order for work in kinds_of_work().values() for order in work.orders(study, self.settings)]
        with self.database.writing() as session:
            self.jobs.retry_jobs_with_lost_results(session, study)
            new_jobs = self._repeat_rejections(session, study, orders)
            new_jobs += sum(self.jobs.submit(session, order) for order in orders)
            planned = update(FollowedStudy).where(FollowedStudy.study_id == study_id, FollowedStudy.due == due)
            session.execute(planned.values(due=None, study_instance_uid=study.study_instance_uid))
        if new_jobs:
            log.info("study %s: %d new jobs", study.study_instance_uid, new_jobs)
        return new_jobs

    def _postpone_study(self, study_id: str) -> None:
        with self.database.writing() as session:
            self._set_due(session, [study_id], after_s=self.settings.quiet_s, is_stable=False)

    def reconcile(self) -> None:
        """Compare the archive's studies with ours: plan what was never planned, or is to be looked at again, forget
        what is gone. A study that never came is reserved for no group.
        """
        archived = set(self.archive.list_study_ids())
        with self.database.reading() as session:
            followed = set(session.scalars(select(FollowedStudy.study_id)))
        for study_id in sorted(followed - archived):
            self._forget_study(study_id)
        unplanned = (archived - followed) | (archived & self._find_studies_below_limits())
        with self.database.writing() as session:
            self._set_due(session, unplanned, after_s=0, is_stable=False)
        settle_reservations(self.database, lambda uid: bool(self.archive.find_ids("Study", uid)))

    def _find_studies_below_limits(self) -> set[str]:
        """Studies with an object that was rejected by a limit that has been raised since."""
        with self.database.reading() as session:
            rejected = find_rejections_below_limits(session, self._limits)
        return self.archive.find_parent_studies(
            source.removeprefix(ARCHIVE_PREFIX) for source in rejected if source.startswith(ARCHIVE_PREFIX)
        )

    def _repeat_rejections(self, session: Session, study: StudyContent, orders: Iterable[Order]) -> int:
        """Queue the study's catalogue job again where a limit that rejected one of its objects was raised since; how
        many jobs. Once for each raise: while the job runs, it is not done, and reconciliation makes it due again.
        """
        rejected = find_rejections_below_limits(session, self._limits)
        of_study = {ARCHIVE_PREFIX + one.instance_id for series in study.series for one in series.instances}
        if not rejected & of_study:
            return 0
        queued = sum(self.jobs.submit_again(session, order) for order in orders if order.kind == CATALOGUE_KIND)
        if queued:
            repeat_rejections(session, self._limits, rejected & of_study)
        return queued

    def _forget_study(self, study_id: str) -> None:
        """Forget a deleted study and its ended jobs; queue what each kind of work does for a study without series."""
        with self.database.writing() as session:
            followed = session.get(FollowedStudy, study_id)
            if followed is None:
                return
            if followed.study_instance_uid:
                self.jobs.forget_ended_jobs(session, followed.study_instance_uid)
                empty = StudyContent(study_id, followed.study_instance_uid, ())
                for work in kinds_of_work().values():
                    for order in work.orders(empty, self.settings):
                        self.jobs.submit(session, order)
            session.delete(followed)


def _find_stable_studies(page: ChangePage) -> list[str]:
    """Orthanc's identifiers of the studies that a page of the change log calls stable."""
    return [entry.resource_id for entry in page.entries if entry.type == "StableStudy"]
