"""The job record for a worker: claim a row, renew its lease, say how it ended."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, update

from minipacs.database import Database
from minipacs.errors import MinipacsError
from minipacs.jobs.record import Job, count_changes, requeue

BACK_OFF_S = 2.0
"""Wait before the second attempt; doubled before each further one, up to `MAX_BACK_OFF_S`."""
MAX_BACK_OFF_S = 60.0
POSTPONED_S = 2.0
"""Wait before work is tried again that could not be done because a part was away; it costs no attempt."""
MAX_DETAIL_CHARACTERS = 8000

Answer = Literal["go on", "cancel", "lost"]


@dataclass(frozen=True)
class Progress:
    """How far a job is; `total` is 0 while it is not known."""

    stage: str = ""
    done: int = 0
    total: int = 0
    note: str = ""


@dataclass(frozen=True)
class JobHold:
    """A worker's hold on a row, for this attempt alone. What a worker says that lost its row changes nothing."""

    id: int
    attempt: int
    kind: str
    args: dict[str, Any]
    worker: str
    database: Database
    lease_s: float

    @classmethod
    def claim(cls, database: Database, job_id: int, worker: str, *, lease_s: float) -> "JobHold | None":
        """Take a queued row; `None` when it is another worker's, or cancelled."""
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

    def beat(self, progress: Progress) -> Answer:
        """Renew the lease and record the progress; whether to go on."""
        with self.database.writing() as session:
            until = self.database.now() + self.lease_s
            renewed = update(Job).where(self._is_held).values(lease_until=until, **vars(progress))
            row = session.execute(renewed.returning(Job.cancel)).first()
        if row is None:
            return "lost"
        return "cancel" if row[0] else "go on"

    def finish(self, result: dict[str, Any]) -> bool:
        """Done; `False` when the row had been given to another worker."""
        json.dumps(result)  # a result that is no JSON is the work's mistake, found here
        return self._end(state="done", result=result, stage="done", error="", hint="", detail="")

    def end_cancelled_job(self) -> bool:
        """Stopped because that was asked; `False` when the row had been given to another worker."""
        return self._end(state="cancelled")

    def fail(self, error: MinipacsError, detail: str, *, is_permanent: bool) -> bool:
        """Failed; queued again with back-off unless the error is permanent or no attempt is left."""
        failure = {"error": error.message, "hint": error.hint, "detail": detail[-MAX_DETAIL_CHARACTERS:]}
        if not is_permanent:
            delay_s = min(BACK_OFF_S * 2.0 ** (self.attempt - 1), MAX_BACK_OFF_S)
            another = and_(self._is_held, Job.attempt < Job.attempt_limit, ~Job.cancel)
            if requeue(self.database, another, "", counts_attempt=True, delay_s=delay_s, **failure):
                return True
        return self._end(state="failed", **failure)

    def postpone(self, error: MinipacsError) -> bool:
        """Queued again, for the fault is not the job's: a part is away, or the disk is full. No attempt is lost."""
        reason = f"Waiting: {error}"
        return bool(requeue(self.database, self._is_held, reason, counts_attempt=False, delay_s=POSTPONED_S))

    @property
    def _is_held(self) -> ColumnElement[bool]:
        """This row, still running, in this attempt, by this worker (an attempt that did not count has its number)."""
        return and_(Job.id == self.id, Job.state == "running", Job.attempt == self.attempt, Job.worker == self.worker)

    def _end(self, **columns: Any) -> bool:
        with self.database.writing() as session:
            ended = update(Job).where(self._is_held).values(finished=self.database.now(), lease_until=None, **columns)
            return bool(count_changes(session, ended))
