"""The job record: one row is one piece of work, and the row is the truth.

A natural key makes the same work the same row. A claim is compare-and-set; a lease is renewed by the
worker's heartbeat; every later change names the attempt and the worker it belongs to, so that a worker which
was given up for dead cannot overwrite its successor. Times are the database's clock, seconds since 1970.

    queued ──claim──▶ running ──▶ done
      ▲                  │  └───▶ failed      a permanent error, or no attempt left
      └─retry, requeue───┘  └───▶ cancelled

People and the planner change rows by `queue.py`, the runner by `leases.py`, a worker by `claimed_job.py`.
"""

from typing import Any, cast

from sqlalchemy import JSON, ColumnElement, CursorResult, Double, Index, Text, Update, case, false, or_, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from minipacs.database import Database
from minipacs.tables import Base

STATES = ("queued", "running", "done", "failed", "cancelled")
ENDED_STATES = ("done", "failed", "cancelled")
UNTRIED: dict[str, Any] = {
    **{"state": "queued", "attempt": 0, "not_before": 0.0, "cancel": False, "worker": None, "finished": None},
    **{"stage": "", "done": 0, "total": 0, "note": "", "error": "", "hint": "", "detail": "", "result": None},
}
"""The values of a row that was never tried: queued again with all its attempts."""


class Job(Base):
    """A piece of work, its state and its outcome."""

    __tablename__ = "job"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    study_instance_uid: Mapped[str] = mapped_column(index=True)
    args: Mapped[dict[str, Any]] = mapped_column(JSON)
    needs: Mapped[str]
    priority: Mapped[int]

    state: Mapped[str]
    attempt: Mapped[int] = mapped_column(default=0)
    attempt_limit: Mapped[int] = mapped_column("attempts", key="attempt_limit")
    not_before: Mapped[float] = mapped_column(Double, default=0.0)
    worker: Mapped[str | None]
    lease_until: Mapped[float | None] = mapped_column(Double)
    cancel: Mapped[bool] = mapped_column(default=False)

    stage: Mapped[str] = mapped_column(default="")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    note: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str] = mapped_column(Text, default="")
    hint: Mapped[str] = mapped_column(Text, default="")
    detail: Mapped[str] = mapped_column(Text, default="")
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)

    created: Mapped[float] = mapped_column(Double)
    started: Mapped[float | None] = mapped_column(Double)
    finished: Mapped[float | None] = mapped_column(Double)

    @property
    def summary(self) -> str:
        """One sentence for people: what came of it, or how far it is."""
        if self.error:
            return f"{self.error} {self.hint}".strip()
        return str((self.result or {}).get("summary", "")) or self.note or self.stage


Index(
    "job_queued",
    Job.needs,
    Job.priority.desc(),
    Job.id,
    sqlite_where=Job.state == "queued",
    postgresql_where=Job.state == "queued",
)
Index("job_finished", Job.finished)
Index("job_running", Job.lease_until, sqlite_where=Job.state == "running", postgresql_where=Job.state == "running")


def requeue(
    database: Database,
    condition: ColumnElement[bool],
    reason: str,
    *,
    counts_attempt: bool,
    delay_s: float = 0.0,
    **columns: Any,
) -> int:
    """Give the running rows that meet `condition` back to the queue; how many rows changed.

    A row whose cancellation was requested becomes `cancelled`, one that has used its attempts `failed`. Where
    the attempt does not count its number is taken back. `columns` are set besides.
    """
    now = database.now()
    is_used_up = Job.attempt >= Job.attempt_limit if counts_attempt else false()
    fails = is_used_up & ~Job.cancel
    values = {
        "state": case((Job.cancel, "cancelled"), (is_used_up, "failed"), else_="queued"),
        "attempt": Job.attempt if counts_attempt else case((Job.cancel, Job.attempt), else_=Job.attempt - 1),
        "not_before": now + delay_s,
        "finished": case((or_(Job.cancel, is_used_up), now), else_=None),
        "note": case((Job.cancel, Job.note), else_=reason),
        "error": case((fails, f"{reason} It did so in every attempt."), else_=Job.error),
        "hint": case((fails, "Look at the service's log, then retry the job."), else_=Job.hint),
        "worker": None,
        "lease_until": None,
    }
    running = update(Job).where(Job.state == "running", condition)
    with database.writing() as session:
        return execute_and_count(session, running.values(**{**values, **columns}))


def execute_and_count(session: Session, statement: Update) -> int:
    """Execute an update; how many rows it changed."""
    return cast(CursorResult[Any], session.execute(statement)).rowcount
