"""A job as JSON: the same on every page and in every answer."""

from time import time
from typing import Annotated, TypedDict

from msgspec import Meta

from api.web.disclosed import note_disclosed
from api.web.row_json import iso_time
from minipacs.jobs.contract import kind_titles
from minipacs.jobs.record import STATES, Job


class ErrorText(TypedDict):
    """What went wrong, and the remedy."""

    message: str
    hint: str


class JobJson(TypedDict):
    """A job as everyone sees it; times are ISO 8601, UTC."""

    id: int
    kind: str
    """Of work: catalogue, segment, or another that is installed."""
    title: str
    """What people call this kind of work."""
    study: str
    """Study Instance UID."""
    state: Annotated[str, Meta(extra_json_schema={"enum": list(STATES)})]
    stage: str
    """What the job does now."""
    percent: Annotated[int, Meta(ge=0, le=100)] | None
    """How far it is."""
    note: str
    """More about the stage."""
    summary: str
    """What came of it, as a sentence; while it runs, its stage."""
    error: ErrorText | None
    attempt: int
    """Which attempt this is, from 1."""
    attempts: int
    """How many attempts there are at most."""
    cancelling: bool
    """Whether it runs and is to stop."""
    created: str | None
    started: str | None
    finished: str | None
    elapsed_s: float | None
    """Seconds since its start, or from start to end."""
    left_s: int | None
    """About how many seconds it still takes."""


def job_json(job: Job) -> JobJson:
    """A job as everyone sees it."""
    note_disclosed([job.study_instance_uid], rows=1)
    is_running = job.state == "running"
    elapsed = (job.finished or time()) - job.started if job.started else None
    done = job.done / job.total if job.total else None
    left = elapsed / done - elapsed if is_running and elapsed and done else None
    percent = min(round(100 * done), 100) if done is not None else None

    return {
        "id": job.id,
        "kind": job.kind,
        "title": kind_titles().get(job.kind, job.kind),
        "study": job.study_instance_uid,
        "state": job.state,
        "stage": job.stage,
        "percent": 100 if job.state == "done" else percent,
        "note": job.note,
        "summary": ": ".join(filter(None, (job.stage, job.note))) if is_running else job.summary,
        "error": {"message": job.error, "hint": job.hint} if job.error else None,
        "attempt": job.attempt,
        "attempts": job.attempt_limit,
        "cancelling": job.cancel and is_running,
        "created": iso_time(job.created),
        "started": iso_time(job.started),
        "finished": iso_time(job.finished),
        "elapsed_s": round(elapsed, 1) if elapsed is not None else None,
        "left_s": round(left) if left is not None else None,
    }
