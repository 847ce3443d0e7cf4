"""The job record for a worker: claim a row, renew its lease, record how it ended."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, update

from minipacs.database import Database
from minipacs.errors import MinipacsError
from minipacs.jobs.record import Job, execute_and_count, requeue

BACK_OFF_S = 2.0
"""Wait before the second attempt; doubled before each further one, up to `MAX_BACK_OFF_S`."""
MAX_BACK_OFF_S = 60.0
POSTPONED_S = 2.0
"""Wait before a job is tried again whose archive or database did not answer; it costs no attempt."""
MAX_DETAIL_CHARACTERS = 8000
AGAIN = "The last attempt failed; it is tried again."
"""The note of a job that failed and is queued again."""

HeartbeatAnswer = Literal["go on", "cancel", "lost"]
"""What a worker learns when it renews its lease: `lost` when the row is another worker's now."""


@dataclass(frozen=True)
class JobProgress:
    """How far a job is; `total` is 0 while it is not known."""

    stage: str = ""
    done: int = 0
    total: int = 0
    note: str = ""


@dataclass(frozen=True)
class ClaimedJob:
    """A row that one worker claimed, for one attempt. A worker that has lost the row can change nothing in it."""

    id: int
    attempt: int
    kind: str
    args: dict[str, Any]
    worker: str
    database: Database
    lease_s: float

    @classmethod
    def claim(cls, database: Database, job_id: int, worker: str, *, lease_s: float) -> "ClaimedJob | None":
        """Claim a queued row; `None` when it is another worker's, or cancelled."""
        claimable = update(Job).where(Job.id == job_id, Job.state == "queued", ~Job.cancel)
        with database.writing() as session:
            now = database.now()
            claimed = claimable.values(
                state="running",
                attempt=Job.attempt + 1,
                worker=worker,
                lease_until=now + lease_s,
                started=now,
                note="",
            )
            row = session.execute(claimed.returning(Job.attempt, Job.kind, Job.args)).first()
        return cls(job_id, row.attempt, row.kind, row.args, worker, database, lease_s) if row else None

    def renew_lease(self, progress: JobProgress) -> HeartbeatAnswer:
        """Renew the lease and record the progress; whether to go on."""
        with self.database.writing() as session:
            until = self.database.now() + self.lease_s
            renewed = update(Job).where(self._is_still_claimed).values(lease_until=until, **vars(progress))
            row = session.execute(renewed.returning(Job.cancel)).first()
        if row is None:
            return "lost"
        return "cancel" if row[0] else "go on"

    def finish(self, result: dict[str, Any]) -> bool:
        """Record that it is done; `False` when the row had been given to another worker."""
        json.dumps(result)  # raises for a result that is not JSON: a mistake of the work
        return self._record_end(state="done", result=result, stage="done", error="", hint="", detail="")

    def end_cancelled_job(self) -> bool:
        """Record that it was cancelled; `False` when the row had been given to another worker."""
        return self._record_end(state="cancelled")

    def fail(self, error: MinipacsError, detail: str, *, is_permanent: bool) -> bool:
        """Record a failure: queued again with back-off, or failed when the error is permanent or no attempt is left."""
        failure = {"error": error.message, "hint": error.hint, "detail": detail[-MAX_DETAIL_CHARACTERS:]}
        if not is_permanent:
            delay_s = min(BACK_OFF_S * 2.0 ** (self.attempt - 1), MAX_BACK_OFF_S)
            another = and_(self._is_still_claimed, Job.attempt < Job.attempt_limit, ~Job.cancel)
            if requeue(self.database, another, AGAIN, counts_attempt=True, delay_s=delay_s, **failure):
                return True
        return self._record_end(state="failed", **failure)

    def postpone(self, error: MinipacsError) -> bool:
        """Queue it again because of a fault that is not its own: Orthanc or the database does not answer, or the disk
        is full. The attempt does not count."""
        reason = f"Waiting: {error}"
        return bool(requeue(self.database, self._is_still_claimed, reason, counts_attempt=False, delay_s=POSTPONED_S))

    @property
    def _is_still_claimed(self) -> ColumnElement[bool]:
        """This row, still running, in this attempt, by this worker (an attempt that did not count has its number)."""
        return and_(Job.id == self.id, Job.state == "running", Job.attempt == self.attempt, Job.worker == self.worker)

    def _record_end(self, **columns: Any) -> bool:
        with self.database.writing() as session:
            ended = (
                update(Job)
                .where(self._is_still_claimed)
                .values(finished=self.database.now(), lease_until=None, **columns)
            )
            return bool(execute_and_count(session, ended))
