"""The job record for the runner: which rows may start, who runs them, and whose lease is over."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, literal, or_, select, update

from minipacs.database import Database
from minipacs.jobs.record import UNTRIED, Job, count_changes, requeue

ARE_OPEN = select(or_(exists().where(Job.state == "queued"), exists().where(Job.state == "running")))


class JobLeases:
    """Jobs, as the runner sees them, which moves rows to workers and takes them back."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def due(self, needs: str, limit: int, besides: Sequence[int]) -> Sequence[int]:
        """Numbers of rows that may start now, the most urgent first."""
        ready = select(Job.id).where(
            Job.state == "queued",
            Job.needs == needs,
            Job.not_before <= self.database.now(),
            Job.id.not_in(besides),
        )
        with self.database.reading() as session:
            return session.scalars(ready.order_by(Job.priority.desc(), Job.id).limit(limit)).all()

    def are_open(self) -> bool:
        """Whether any row is queued or running; by the partial indexes, whatever the table holds."""
        with self.database.reading() as session:
            return bool(session.connection().scalar(ARE_OPEN))

    def filter_waiting(self, job_ids: Sequence[int]) -> set[int]:
        """Which of these rows no worker has claimed."""
        queued = select(Job.id).where(Job.id.in_(job_ids), Job.state == "queued")
        with self.database.reading() as session:
            return set(session.scalars(queued))

    def workers(self) -> set[str]:
        """Names of the workers that hold a row."""
        return self._workers_where(Job.state == "running")

    def silent_workers(self) -> set[str]:
        """Names of the workers whose lease is over."""
        return self._workers_where(Job.state == "running", Job.lease_until < self.database.now())

    def _workers_where(self, *conditions: ColumnElement[bool]) -> set[str]:
        with self.database.reading() as session:
            return {worker for worker in session.scalars(select(Job.worker).where(*conditions)) if worker}

    def requeue_lost_leases(self) -> int:
        """Queue again what silent workers hold; how many rows."""
        return self._requeue(Job.lease_until < self.database.now(), "The worker fell silent.")

    def requeue_of_worker(self, worker: str, reason: str, *, counts_attempt: bool = True) -> int:
        """Queue again what this worker holds; how many rows."""
        return self._requeue(Job.worker == worker, reason, counts_attempt=counts_attempt)

    def _requeue(self, which: ColumnElement[bool], reason: str, *, counts_attempt: bool = True) -> int:
        return requeue(self.database, which, reason, counts_attempt=counts_attempt)

    def retry_failures(self, kind: str, after_s: float) -> int:
        """Queue what failed longer ago than this again, with all its attempts; how many rows."""
        failed = update(Job).where(Job.kind == kind, Job.state == "failed")
        with self.database.writing() as session:
            long_ago = failed.where(Job.finished < self.database.now() - after_s)
            return count_changes(session, long_ago.values(**UNTRIED))

    def note_wait_reason(self, reason: str) -> None:
        """Note on every queued row why it waits."""
        with self.database.writing() as session:
            session.execute(update(Job).where(Job.state == "queued").values(note=reason))

    def note_missing_workers(self, served: Sequence[str]) -> None:
        """Note on queued rows that need what no worker has why they wait."""
        reason = literal("Waiting: no worker takes jobs that need a ") + Job.needs
        remedy = ". Set MINIPACS_GPUS, or start `minipacs worker --needs gpu`."
        unserved = update(Job).where(Job.state == "queued", Job.needs.not_in(served))
        with self.database.writing() as session:
            session.execute(unserved.values(note=reason + remedy))
