"""Work in progress: the list, one job, cancel and retry."""

from datetime import UTC, datetime
from time import time
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from api.auth.roles import requires
from api.context import context
from api.web import paging
from api.web.responses import wants_page
from minipacs.errors import BadRequest
from minipacs.jobs.record import STATES, Job, Jobs

blueprint = Blueprint("jobs", __name__)


def told(job: Job) -> dict[str, Any]:
    """A job as everyone sees it; times are ISO 8601, UTC."""
    elapsed = (job.finished or time()) - job.started if job.started else None
    done = job.done / job.total if job.total else None
    running = job.state == "running"
    left = elapsed / done - elapsed if running and elapsed and done else None
    return {
        "id": job.id,
        "kind": job.kind,
        "study": job.study_instance_uid,
        "state": job.state,
        "stage": job.stage,
        "percent": 100 if job.state == "done" else min(round(100 * done), 100) if done is not None else None,
        "note": job.note,
        "summary": ": ".join(filter(None, (job.stage, job.note))) if running else job.summary,
        "error": {"message": job.error, "hint": job.hint} if job.error else None,
        "attempt": job.attempt,
        "attempts": job.attempts,
        "cancelling": job.cancel and running,
        "created": moment(job.created),
        "started": moment(job.started),
        "finished": moment(job.finished),
        "elapsed_s": round(elapsed, 1) if elapsed is not None else None,
        "left_s": round(left) if left is not None else None,
    }


def moment(seconds: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds is not None else None


@blueprint.get("/jobs")
def jobs() -> ResponseReturnValue:
    """Jobs, the newest first; `?state=`, `?kind=`, `?study=` choose."""
    answer = listed()
    if not wants_page():
        return answer
    wanted = {name: request.args.get(name, "") for name in ("state", "kind")}
    older = None
    if len(answer["jobs"]) == paging.limit():
        older = "/jobs?" + urlencode({**request.args, "before": answer["jobs"][-1]["id"]})
    return render_template("jobs.html", **answer, wanted=wanted, older=older)


def listed() -> dict[str, Any]:
    """Up to `limit` jobs, and how many there are of each state, of this kind and study where they are chosen."""
    chosen = select(Job).order_by(Job.id.desc()).limit(paging.limit())
    counted = select(Job.state, func.count()).group_by(Job.state)
    columns = {"state": Job.state, "kind": Job.kind, "study": Job.study_instance_uid}
    for name, text in request.args.items():
        if name == "before":
            chosen = chosen.where(Job.id < paging.whole(text))
        elif name in columns and "\x00" not in text:
            chosen = chosen.where(columns[name] == text)
            if name != "state":
                counted = counted.where(columns[name] == text)
        elif name not in ("limit", *columns):
            raise BadRequest(f"There is no filter {name!r} here.", f"There are before, {', '.join(columns)}.")
    with context().database.reading() as session:
        found = [told(job) for job in session.scalars(chosen)]
        counts = dict.fromkeys(STATES, 0)
        counts |= {row[0]: row[1] for row in session.execute(counted)}
        return {"jobs": found, "counts": counts}


@blueprint.get("/jobs/<int:job_id>")
def job(job_id: int) -> ResponseReturnValue:
    """A job, with its result and the end of its log."""
    row = _jobs().get(within(job_id))
    answer = {**told(row), "result": row.result, "log": row.detail, "worker": row.worker, "key": row.key}
    return render_template("job.html", job=answer) if wants_page() else answer


@blueprint.post("/jobs/<int:job_id>/cancel")
@requires("operator")
def cancel(job_id: int) -> dict[str, Any]:
    """Queued: it will not start. Running: it stops within seconds."""
    _jobs().get(within(job_id))
    _jobs().cancel(job_id)
    return told(_jobs().get(job_id))


@blueprint.post("/jobs/<int:job_id>/retry")
@requires("operator")
def retry(job_id: int) -> dict[str, Any]:
    """Queue an ended job again, with all its attempts."""
    row = _jobs().get(within(job_id))
    if not _jobs().retry(job_id):
        raise BadRequest(f"Job {job_id} is {row.state}.", "Cancel it first, or wait for its end.")
    return told(_jobs().get(job_id))


@blueprint.get("/status")
def status() -> dict[str, Any]:
    """For older clients: whether there is new work, what runs, how much waits."""
    with context().database.reading() as session:
        running = session.scalar(select(Job.study_instance_uid).where(Job.state == "running").order_by(Job.id).limit(1))
        waiting = session.scalar(select(func.count()).where(Job.state == "queued")) or 0
    return {"new_files": bool(waiting or running), "current_file": running, "queue_size": waiting}


def within(job_id: int) -> int:
    """A number a database can hold; anything larger is no job."""
    return job_id if job_id < 2**31 else -1


def _jobs() -> Jobs:
    settings = context().settings
    return Jobs(context().database, lease_s=settings.lease_s, attempts=settings.attempts)
