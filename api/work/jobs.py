"""Work in progress: the list, one job, cancel and retry."""

from typing import Annotated, TypedDict
from urllib.parse import urlencode

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from msgspec import Meta
from sqlalchemy import func, select

from api.auth.access import requires_role
from api.context import context
from api.web.describe_route import QueryParameters, answers, audits, takes_query
from api.web.paging import MAX_LIMIT
from api.web.responses import send_json_or_page
from api.web.row_json import JsonRow
from api.work.job_json import JobJson, job_json
from minipacs.errors import BadRequest
from minipacs.jobs.contract import kind_titles
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import STATES, Job

blueprint = Blueprint("jobs", __name__)
MAX_JOB_ID = 2**31 - 1
"""What the column holds; a larger number is no job."""
MAX_NUMBER = 2**63 - 1
"""What a database can compare with."""
FILTERS = {"state": Job.state, "kind": Job.kind, "study": Job.study_instance_uid}


class JobParameters(QueryParameters):
    """Which jobs: of a state, a kind, a study; older than one."""

    state: str | None = None
    """One of queued, running, done, failed, cancelled."""
    kind: str | None = None
    """The kind of work: catalogue, segment, or another that is installed."""
    study: str | None = None
    """Study Instance UID."""
    before: Annotated[int, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)] | None = None
    """Only jobs with a lower number."""
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 100
    """At most so many jobs."""


class JobDetails(JobJson):
    """A job with its result and the end of its log."""

    result: JsonRow | None
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
        wanted = {"state": query.state or "", "kind": query.kind or ""}
        return {"wanted": wanted, "titles": kind_titles(), "older": older}

    return send_json_or_page(found, page_values)


@blueprint.get("/jobs/<int:job_id>")
@answers(JobDetails, page="job.html")
def job(job_id: int) -> ResponseReturnValue:
    """A job, with its result and the end of its log."""
    row = job_queue().get(replace_unstorable_id(job_id))
    details: JobDetails = {
        **job_json(row),
        "result": row.result,
        "log": row.detail,
        "worker": row.worker,
        "key": row.key,
    }
    return send_json_or_page(details, lambda: {"job": details})


@blueprint.post("/jobs/<int:job_id>/cancel")
@requires_role("operator")
@audits("job")
@answers(JobJson)
def cancel_job(job_id: int) -> JobJson:
    """Queued: it will not start. Running: it stops within seconds."""
    job_queue().get(replace_unstorable_id(job_id))
    job_queue().cancel(job_id)
    return job_json(job_queue().get(job_id))


@blueprint.post("/jobs/<int:job_id>/retry")
@requires_role("operator")
@audits("job")
@answers(JobJson)
def retry_job(job_id: int) -> JobJson:
    """Queue an ended job again, with all its attempts."""
    row = job_queue().get(replace_unstorable_id(job_id))
    if not job_queue().retry(job_id):
        raise BadRequest(f"Job {job_id} is {row.state}.", "Cancel it first, or wait for its end.")
    return job_json(job_queue().get(job_id))


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


def replace_unstorable_id(job_id: int) -> int:
    """A number that the column holds; anything larger becomes one that no job has."""
    return job_id if job_id <= MAX_JOB_ID else -1


def job_queue() -> JobQueue:
    """The queue of jobs, by this application's settings."""
    return JobQueue(context().database, attempt_limit=context().settings.attempts)
