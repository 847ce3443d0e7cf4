"""The job record: one row is one piece of work, and the row is the truth.

A natural key makes the same work the same row. A claim is compare-and-set; a lease is renewed by the
worker's heartbeat; every later change names the attempt it belongs to, so that a worker which was
given up for dead cannot overwrite its successor. Times are the database's clock, seconds since 1970.

    queued ──claim──▶ running ──▶ done
      ▲                  │  └───▶ failed      a permanent error, or no attempt left
      └──retry, hand-back─┘  └──▶ cancelled
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import (
    JSON,
    ColumnElement,
    CursorResult,
    Double,
    Index,
    Text,
    Update,
    and_,
    case,
    delete,
    exists,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from minipacs.archive.content import StudyContent
from minipacs.database import Database
from minipacs.errors import MinipacsError, NotFound
from minipacs.jobs.contract import Order, series_made
from minipacs.tables import Base

BACK_OFF_S = 2.0
"""Wait before the second attempt; doubled before each further one, up to `BACK_OFF_MOST_S`."""
BACK_OFF_MOST_S = 60.0
AWAY_S = 2.0
"""Wait before work is tried again that could not be done because a part was away; it costs no attempt."""
FRESH: dict[str, Any] = {
    **{"state": "queued", "attempt": 0, "not_before": 0.0, "cancel": False, "worker": None, "finished": None},
    **{"stage": "", "done": 0, "total": 0, "note": "", "error": "", "hint": "", "detail": "", "result": None},
}
"""A row as if it had never been tried."""
STATES = ("queued", "running", "done", "failed", "cancelled")


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
    attempts: Mapped[int]
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

ARE_OPEN = select(or_(exists().where(Job.state == "queued"), exists().where(Job.state == "running")))


@dataclass(frozen=True)
class Claim:
    """A worker's hold on a row, valid for this attempt alone."""

    id: int
    attempt: int
    kind: str
    args: dict[str, Any]
    worker: str


@dataclass(frozen=True)
class Progress:
    """How far a job is; `total` is 0 while it is not known."""

    stage: str = ""
    done: int = 0
    total: int = 0
    note: str = ""


class Jobs:
    """The job table, in the verbs of the picture above."""

    def __init__(self, database: Database, *, lease_s: float = 30, attempts: int = 3) -> None:
        self.database = database
        self.lease_s = lease_s
        self.attempts = attempts

    # -- people and planners ------------------------------------------------------------------------
    def submit(self, session: Session, order: Order) -> bool:
        """Queue an order in the caller's transaction; `False` when its row is there already."""
        insert = self.database.insert(Job).values(
            key=order.key,
            kind=order.kind,
            study_instance_uid=order.study_instance_uid,
            args=order.args,
            needs=order.needs,
            priority=order.priority,
            state="queued",
            attempts=self.attempts,
            created=self.database.now(),
        )
        return (
            session.execute(insert.on_conflict_do_nothing(index_elements=["key"]).returning(Job.id)).first() is not None
        )

    def rearm(self, session: Session, study: StudyContent) -> int:
        """Queue done work again whose results the archive lost (the study was deleted and sent again); how many."""
        held = {series.series_instance_uid for series in study.series}
        done = select(Job).where(Job.study_instance_uid == study.study_instance_uid, Job.state == "done")
        lost = [job.id for job in session.scalars(done) if not set(series_made(job.result or {})) <= held]
        return _changed(session, update(Job).where(Job.id.in_(lost)).values(**FRESH))

    def drop_ended(self, session: Session, study_instance_uid: str) -> None:
        """Forget the ended work of a study that was deleted: when it is sent again, it is new."""
        ended = Job.state.in_(("done", "failed", "cancelled"))
        session.execute(delete(Job).where(Job.study_instance_uid == study_instance_uid, ended))

    def get(self, job_id: int) -> Job:
        """A row, detached; raises `NotFound`."""
        with self.database.reading() as session:
            job = session.get(Job, job_id)
            if job is None:
                raise NotFound(f"There is no job {job_id}.", "GET /jobs lists them.")
            session.expunge(job)
            return job

    def of_study(self, study_instance_uid: str) -> Sequence[Job]:
        """Every job of a study, oldest first, detached."""
        with self.database.reading() as session:
            jobs = session.scalars(
                select(Job).where(Job.study_instance_uid == study_instance_uid).order_by(Job.id)
            ).all()
            session.expunge_all()
            return jobs

    def cancel(self, job_id: int) -> None:
        """A queued job is cancelled now; a running one is asked to stop, and stops at its next heartbeat."""
        with self.database.writing() as session:
            now = self.database.now()
            queued = and_(Job.id == job_id, Job.state == "queued")
            session.execute(update(Job).where(queued).values(state="cancelled", finished=now, cancel=True))
            session.execute(update(Job).where(Job.id == job_id, Job.state == "running").values(cancel=True))

    def retry(self, job_id: int) -> bool:
        """Queue a finished job again, with all its attempts; `False` when it is queued or running."""
        with self.database.writing() as session:
            ended = and_(Job.id == job_id, Job.state.in_(("failed", "cancelled", "done")))
            return bool(_changed(session, update(Job).where(ended).values(**FRESH)))

    def retry_failed(self, kind: str, after_s: float) -> int:
        """Queue what failed longer ago than this again, with all its attempts; how many."""
        with self.database.writing() as session:
            old = and_(Job.kind == kind, Job.state == "failed", Job.finished < self.database.now() - after_s)
            return _changed(session, update(Job).where(old).values(**FRESH))

    # -- the runner ---------------------------------------------------------------------------------
    def due(self, needs: str, limit: int, besides: Sequence[int]) -> Sequence[int]:
        """Rows that may start now, the most urgent first."""
        with self.database.reading() as session:
            ready = and_(Job.state == "queued", Job.needs == needs, Job.not_before <= self.database.now())
            chosen = (
                select(Job.id).where(ready, Job.id.not_in(besides)).order_by(Job.priority.desc(), Job.id).limit(limit)
            )
            return session.scalars(chosen).all()

    def are_open(self) -> bool:
        """Whether any row is queued or running; by the partial indexes, whatever the table holds."""
        with self.database.reading() as session:
            return bool(session.connection().scalar(ARE_OPEN))

    def running(self) -> Sequence[tuple[int, str]]:
        """(id, worker) of what runs."""
        with self.database.reading() as session:
            return [(j, w or "") for j, w in session.execute(select(Job.id, Job.worker).where(Job.state == "running"))]

    def silent(self) -> Sequence[str]:
        """Workers whose lease is over."""
        with self.database.reading() as session:
            over = select(Job.worker).where(Job.state == "running", Job.lease_until < self.database.now()).distinct()
            return [worker for worker in session.scalars(over) if worker]

    def queued_again(self, job_ids: Sequence[int]) -> set[int]:
        """Which of these rows nobody holds."""
        with self.database.reading() as session:
            return set(session.scalars(select(Job.id).where(Job.id.in_(job_ids), Job.state == "queued")))

    def requeue_expired(self) -> int:
        """Give back what a silent worker holds; how many."""
        return self._give_back(Job.lease_until < self.database.now(), "The worker fell silent.")

    def requeue_of(self, worker: str, why: str) -> int:
        """Give back what a dead worker holds; how many."""
        return self._give_back(Job.worker == worker, why)

    def tell_waiting(self, why: str) -> None:
        """Say on every queued row why it waits."""
        with self.database.writing() as session:
            session.execute(update(Job).where(Job.state == "queued").values(note=why))

    def tell_unserved(self, served: Sequence[str]) -> None:
        """Say on queued rows that need what no worker has why they wait."""
        why = "Waiting: no worker takes jobs that need a "
        remedy = ". Set MINIPACS_GPUS, or start `minipacs worker --needs gpu`."
        with self.database.writing() as session:
            unserved = and_(Job.state == "queued", Job.needs.not_in(served))
            session.execute(update(Job).where(unserved).values(note=literal(why) + Job.needs + remedy))

    def hand_back(self, worker: str) -> int:
        """A graceful stop gives running work back, less what was cancelled; how many.

        It has one attempt more for it; the number of the attempt stays, for it is the fence.
        """
        with self.database.writing() as session:
            held = and_(Job.state == "running", Job.worker == worker)
            ended = {"state": "cancelled", "finished": self.database.now(), "worker": None, "lease_until": None}
            session.execute(update(Job).where(held, Job.cancel).values(**ended))
            values = {"state": "queued", "attempts": Job.attempts + 1, "worker": None, "lease_until": None, "stage": ""}
            return _changed(session, update(Job).where(held).values(**values))

    def _give_back(self, which: ColumnElement[bool], why: str) -> int:
        """Running → queued; cancelled when that was asked; failed when no attempt is left."""
        spent = Job.attempt >= Job.attempts
        state = case((Job.cancel, "cancelled"), (spent, "failed"), else_="queued")
        ended = or_(Job.cancel, spent)
        now = self.database.now()
        sentence = f"{why} It did so in every attempt."
        with self.database.writing() as session:
            return _changed(
                session,
                update(Job)
                .where(Job.state == "running", which)
                .values(
                    state=state,
                    finished=case((ended, now), else_=None),
                    not_before=case((ended, 0.0), else_=now),
                    error=case((and_(spent, ~Job.cancel), sentence), else_=Job.error),
                    hint=case(
                        (and_(spent, ~Job.cancel), "Look at the service's log, then retry the job."), else_=Job.hint
                    ),
                    note=why,
                    worker=None,
                    lease_until=None,
                ),
            )

    # -- the worker ---------------------------------------------------------------------------------
    def claim(self, job_id: int, worker: str) -> Claim | None:
        """Take a queued row; `None` when somebody else has it."""
        with self.database.writing() as session:
            now = self.database.now()
            taken = session.execute(
                update(Job)
                .where(Job.id == job_id, Job.state == "queued", ~Job.cancel)
                .values(
                    state="running",
                    attempt=Job.attempt + 1,
                    worker=worker,
                    lease_until=now + self.lease_s,
                    started=now,
                    note="",
                )
                .returning(Job.id, Job.attempt, Job.kind, Job.args, Job.worker)
            ).first()
        return Claim(*taken) if taken else None

    def beat(self, claim: Claim, progress: Progress) -> str:
        """Renew the lease and tell the progress; the answer is `go on`, `cancel` or `lost`."""
        with self.database.writing() as session:
            row = session.execute(
                update(Job)
                .where(*_held(claim))
                .values(lease_until=self.database.now() + self.lease_s, **vars(progress))
                .returning(Job.cancel)
            ).first()
        return "lost" if row is None else "cancel" if row[0] else "go on"

    def finish(self, claim: Claim, result: dict[str, Any]) -> bool:
        """Done; `False` when the row had been given to another worker."""
        json.dumps(result)  # a result that is no JSON is the work's mistake, found here
        return self._end(claim, state="done", result=result, stage="done", error="", hint="", detail="")

    def cancelled(self, claim: Claim) -> bool:
        """Stopped because somebody asked."""
        return self._end(claim, state="cancelled")

    def fail(self, claim: Claim, error: MinipacsError, detail: str, *, permanent: bool) -> bool:
        """Failed; queued again with back-off unless the error is permanent or no attempt is left."""
        values = {"error": error.message, "hint": error.hint, "detail": detail[-8000:]}
        with self.database.writing() as session:
            now = self.database.now()
            wait_s = min(BACK_OFF_S * 2.0 ** (claim.attempt - 1), BACK_OFF_MOST_S)
            again = {"not_before": now + wait_s, "worker": None, "lease_until": None}
            if not permanent:
                retried = update(Job).where(*_held(claim), Job.attempt < Job.attempts, ~Job.cancel)
                if _changed(session, retried.values(state="queued", **values, **again)):
                    return True
        return self._end(claim, state="failed", **values)

    def postpone(self, claim: Claim, error: MinipacsError) -> bool:
        """Queued again, for the fault is not the job's: a part is away, or the disk is full. No attempt is lost."""
        with self.database.writing() as session:
            values = {"state": "queued", "attempt": Job.attempt - 1, "not_before": self.database.now() + AWAY_S}
            note = f"Waiting: {error}"
            postponed = update(Job).where(*_held(claim), ~Job.cancel)
            if _changed(session, postponed.values(**values, note=note, worker=None, lease_until=None)):
                return True
        return self.cancelled(claim)

    def _end(self, claim: Claim, **values: Any) -> bool:
        with self.database.writing() as session:
            ended = update(Job).where(*_held(claim)).values(finished=self.database.now(), lease_until=None, **values)
            return bool(_changed(session, ended))


def _held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    """The fence: this row, still running, in this attempt, by this worker (postponed work keeps its attempt)."""
    mine = (Job.attempt == claim.attempt, Job.worker == claim.worker)
    return (Job.id == claim.id, *mine, Job.state == "running")


def _changed(session: Session, statement: Update) -> int:
    """Execute an update; how many rows it changed."""
    return cast(CursorResult[Any], session.execute(statement)).rowcount
