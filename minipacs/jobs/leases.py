"""The job record for the runner: which rows may start, who runs them, and whose lease is over."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, literal, or_, select, update

from minipacs.database import Database
from minipacs.jobs.record import UNTRIED, Job, execute_and_count, requeue

HAS_OPEN_JOBS = select(or_(exists().where(Job.state == "queued"), exists().where(Job.state == "running")))


class JobLeases:
    """What the runner reads and changes in the job table: rows to start, workers, expired leases."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def find_due_jobs(self, needs: str, limit: int, excluded_ids: Sequence[int]) -> Sequence[int]:
        """Numbers of at most `limit` rows that may start now, the most urgent first, without `excluded_ids`."""
        ready = select(Job.id).where(
            Job.state == "queued",
            Job.needs == needs,
            Job.not_before <= self.database.now(),
            Job.id.not_in(excluded_ids),
        )
        with self.database.reading() as session:
            return session.scalars(ready.order_by(Job.priority.desc(), Job.id).limit(limit)).all()

    def has_open_jobs(self) -> bool:
        """Whether any row is queued or running; by the partial indexes, whatever the table holds."""
        with self.database.reading() as session:
            return bool(session.connection().scalar(HAS_OPEN_JOBS))

    def filter_unclaimed(self, job_ids: Sequence[int]) -> set[int]:
        """Which of these rows no worker has claimed."""
        queued = select(Job.id).where(Job.id.in_(job_ids), Job.state == "queued")
        with self.database.reading() as session:
            return set(session.scalars(queued))

    def find_busy_workers(self) -> set[str]:
        """Names of the workers that run a job."""
        return self._find_workers(Job.state == "running")

    def find_silent_workers(self) -> set[str]:
        """Names of the workers whose lease is over."""
        return self._find_workers(Job.state == "running", Job.lease_until < self.database.now())

    def _find_workers(self, *conditions: ColumnElement[bool]) -> set[str]:
        with self.database.reading() as session:
            return {worker for worker in session.scalars(select(Job.worker).where(*conditions)) if worker}

    def requeue_expired_leases(self) -> int:
        """Queue again the jobs whose lease has expired; how many rows."""
        return self._requeue(Job.lease_until < self.database.now(), "The worker fell silent.")

    def requeue_jobs_of_worker(self, worker: str, reason: str, *, counts_attempt: bool = True) -> int:
        """Queue again the jobs that this worker runs; how many rows."""
        return self._requeue(Job.worker == worker, reason, counts_attempt=counts_attempt)

    def _requeue(self, condition: ColumnElement[bool], reason: str, *, counts_attempt: bool = True) -> int:
        return requeue(self.database, condition, reason, counts_attempt=counts_attempt)

    def retry_failed_jobs(self, kind: str, after_s: float) -> int:
        """Queue again, with all attempts, the jobs of this kind that failed more than `after_s` ago; how many rows."""
        failed = update(Job).where(Job.kind == kind, Job.state == "failed")
        with self.database.writing() as session:
            long_ago = failed.where(Job.finished < self.database.now() - after_s)
            return execute_and_count(session, long_ago.values(**UNTRIED))

    def note_wait_reason(self, reason: str) -> None:
        """Note on every queued row why it waits."""
        with self.database.writing() as session:
            session.execute(update(Job).where(Job.state == "queued").values(note=reason))

    def note_missing_workers(self, served: Sequence[str]) -> None:
        """Note on every queued row whose need is not among `served` why it waits."""
        reason = literal("Waiting: no worker takes jobs that need a ") + Job.needs
        remedy = ". Set MINIPACS_GPUS, or start `minipacs worker --needs gpu`."
        unserved = update(Job).where(Job.state == "queued", Job.needs.not_in(served))
        with self.database.writing() as session:
            session.execute(unserved.values(note=reason + remedy))
