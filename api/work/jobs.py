"""Work in progress: the list, one job, cancel and retry."""

from time import time
from typing import Annotated, Any, TypedDict
from urllib.parse import urlencode

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from msgspec import Meta
from sqlalchemy import func, select

from api.auth.roles import requires
from api.context import context
from api.web.describe_route import Parameters, answers, audits, takes_query
from api.web.paging import MAX_LIMIT
from api.web.responses import reply
from api.web.row_json import iso_time
from minipacs.errors import BadRequest
from minipacs.jobs.record import STATES, Job, Jobs

blueprint = Blueprint("jobs", __name__)
MAX_JOB_ID = 2**31 - 1
"""What the column holds; a larger number is no job."""
MAX_NUMBER = 2**63 - 1
"""What a database can compare with."""
FILTERS = {"state": Job.state, "kind": Job.kind, "study": Job.study_instance_uid}


class JobParameters(Parameters):
    """Which jobs: of a state, a kind, a study; older than one."""

    state: str | None = None
    kind: str | None = None
    study: str | None = None
    before: Annotated[int, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 100


class ErrorText(TypedDict):
    """What went wrong, and the remedy."""

    message: str
    hint: str


class JobJson(TypedDict):
    """A job as everyone sees it; times are ISO 8601, UTC."""

    id: int
    kind: str
    study: str
    state: Annotated[str, Meta(extra_json_schema={"enum": list(STATES)})]
    stage: str
    percent: Annotated[int, Meta(ge=0, le=100)] | None
    note: str
    summary: str
    error: ErrorText | None
    attempt: int
    attempts: int
    cancelling: bool
    created: str | None
    started: str | None
    finished: str | None
    elapsed_s: float | None
    left_s: int | None


class JobDetails(JobJson):
    """A job with its result and the end of its log."""

    result: dict[str, Any] | None
    log: str
    worker: str | None
    key: str


class JobList(TypedDict):
    """Jobs, the newest first, and how many there are of each state."""

    jobs: list[JobJson]
    counts: dict[str, int]


@blueprint.get("/jobs")
@takes_query(JobParameters)
@answers(JobList, page="jobs.html")
def jobs(query: JobParameters) -> ResponseReturnValue:
    """Jobs, the newest first; `?state=`, `?kind=`, `?study=` choose."""
    found = find_jobs(query)

    def page_values() -> dict[str, object]:
        is_full = len(found["jobs"]) == query.limit
        older = "/jobs?" + urlencode({**request.args, "before": found["jobs"][-1]["id"]}) if is_full else None
        return {"wanted": {"state": query.state or "", "kind": query.kind or ""}, "older": older}

    return reply(found, page_values)


@blueprint.get("/jobs/<int:job_id>")
@answers(JobDetails, page="job.html")
def job(job_id: int) -> ResponseReturnValue:
    """A job, with its result and the end of its log."""
    row = open_jobs().get(known_id(job_id))
    details: JobDetails = {
        **job_json(row),
        "result": row.result,
        "log": row.detail,
        "worker": row.worker,
        "key": row.key,
    }
    return reply(details, lambda: {"job": details})


@blueprint.post("/jobs/<int:job_id>/cancel")
@requires("operator")
@audits("job")
@answers(JobJson)
def cancel(job_id: int) -> JobJson:
    """Queued: it will not start. Running: it stops within seconds."""
    open_jobs().get(known_id(job_id))
    open_jobs().cancel(job_id)
    return job_json(open_jobs().get(job_id))


@blueprint.post("/jobs/<int:job_id>/retry")
@requires("operator")
@audits("job")
@answers(JobJson)
def retry(job_id: int) -> JobJson:
    """Queue an ended job again, with all its attempts."""
    row = open_jobs().get(known_id(job_id))
    if not open_jobs().retry(job_id):
        raise BadRequest(f"Job {job_id} is {row.state}.", "Cancel it first, or wait for its end.")
    return job_json(open_jobs().get(job_id))


def find_jobs(query: JobParameters) -> JobList:
    """Up to `limit` jobs, and how many there are of each state, of this kind and study where they are chosen."""
    chosen = select(Job).order_by(Job.id.desc()).limit(query.limit)
    counted = select(Job.state, func.count()).group_by(Job.state)

    if query.before is not None:
        chosen = chosen.where(Job.id < query.before)

    for name, column in FILTERS.items():
        text = getattr(query, name)
        if text is None:
            continue
        chosen = chosen.where(column == text)
        if name != "state":
            counted = counted.where(column == text)

    with context().database.reading() as session:
        found = [job_json(job) for job in session.scalars(chosen)]
        counts = dict.fromkeys(STATES, 0)
        counts |= {row[0]: row[1] for row in session.execute(counted)}
        return {"jobs": found, "counts": counts}


def job_json(job: Job) -> JobJson:
    """A job as everyone sees it."""
    is_running = job.state == "running"
    elapsed = (job.finished or time()) - job.started if job.started else None
    done = job.done / job.total if job.total else None
    left = elapsed / done - elapsed if is_running and elapsed and done else None
    percent = min(round(100 * done), 100) if done is not None else None

    return {
        "id": job.id,
        "kind": job.kind,
        "study": job.study_instance_uid,
        "state": job.state,
        "stage": job.stage,
        "percent": 100 if job.state == "done" else percent,
        "note": job.note,
        "summary": ": ".join(filter(None, (job.stage, job.note))) if is_running else job.summary,
        "error": {"message": job.error, "hint": job.hint} if job.error else None,
        "attempt": job.attempt,
        "attempts": job.attempts,
        "cancelling": job.cancel and is_running,
        "created": iso_time(job.created),
        "started": iso_time(job.started),
        "finished": iso_time(job.finished),
        "elapsed_s": round(elapsed, 1) if elapsed is not None else None,
        "left_s": round(left) if left is not None else None,
    }


def known_id(job_id: int) -> int:
    """A number that the column holds; anything larger becomes one that no job has."""
    return job_id if job_id <= MAX_JOB_ID else -1


def open_jobs() -> Jobs:
    """The record of jobs, by this application's settings."""
    settings = context().settings
    return Jobs(context().database, lease_s=settings.lease_s, attempts=settings.attempts)
