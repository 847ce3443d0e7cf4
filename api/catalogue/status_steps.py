"""The stages of a study: received, each job with its place in the queue or how far it is, and what came of it."""

import time
from typing import TypedDict

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from api.context import context
from api.web.row_json import iso_time
from api.web.template_filters import format_count
from api.work.job_json import JobJson, job_json
from minipacs.archive.client import ArchivedStudy
from minipacs.catalogue import Study
from minipacs.jobs.planner import FollowedStudy
from minipacs.jobs.record import Job

RECENT_JOBS = 30
"""Ended jobs of a kind from whose times the time of the next is estimated."""


class StepJson(TypedDict):
    """One stage of a study."""

    step: str
    """What people call it."""
    state: str
    """One of done, running, waiting, failed, cancelled."""
    sentence: str
    hint: str
    """What to do."""
    at: str | None
    job: int | None
    """The number of its job."""
    percent: int | None
    left_s: int | None
    """About how many seconds it still takes."""
    can_retry: bool


def make_step(
    step: str,
    state: str,
    sentence: str,
    *,
    hint: str = "",
    at: str | None = None,
    job: JobJson | None = None,
    left_s: int | None = None,
    can_retry: bool = False,
) -> StepJson:
    """One stage; `state` is done, running, waiting, failed or cancelled."""
    return {
        "step": step,
        "state": state,
        "sentence": sentence,
        "hint": hint,
        "at": at,
        "job": job["id"] if job else None,
        "percent": job["percent"] if job else None,
        "left_s": left_s,
        "can_retry": can_retry,
    }


def make_arrival_step(session: Session, study: Study | None, arrived: ArchivedStudy | None) -> StepJson:
    """Whether it is here, whether it is whole."""
    if arrived is None:
        sentence = "It is in the catalogue; whether the archive holds it was not found out." if study else "Not here."
        return make_step("Received", "done" if study else "waiting", sentence)

    at = iso_time(arrived.last_update)
    followed = session.get(FollowedStudy, arrived.study_id)
    if followed is not None and followed.due is None:
        return make_step("Received", "done", f"{arrived.series} series are in the archive.", at=at)

    quiet_s = round(time.time() - arrived.last_update)
    wait_s = context().settings.stable_age_s
    sentence = f"Its last image came {max(quiet_s, 0)} s ago; work starts after {wait_s} s without another."
    if quiet_s > context().settings.quiet_s + 60:
        hint = "Is the job service running? `minipacs doctor` says."
        return make_step("Received", "waiting", sentence, at=at, hint=hint)
    return make_step("Received", "running", sentence, at=at)


def make_job_step(session: Session, job: Job) -> StepJson:
    """A job: its place in the queue, how far it is, or what went wrong."""
    row = job_json(job)
    name = row["title"]
    if engine := job.args.get("engine"):
        name += f" by {engine}"
    at = row["finished"] or row["started"]

    if job.state == "queued":
        return make_queued_step(session, job, row, name)

    if job.state == "running":
        rest = f", about {format_duration(row['left_s'])} left" if row["left_s"] else ""
        sentence = f"{row['summary'] or 'It has begun'} ({format_duration(row['elapsed_s'] or 0)} so far{rest})."
        return make_step(name, "running", sentence, at=at, job=row, left_s=row["left_s"])

    if job.state == "failed":
        sentence = f"{job.error} ({job.attempt} of {job.attempt_limit} attempts.)"
        return make_step(
            name, "failed", sentence, hint=job.hint, at=at, job=row, left_s=row["left_s"], can_retry=True
        )  # fmt: skip

    if job.state == "cancelled":
        hint = "Retry it."
        return make_step(
            name, "cancelled", "Somebody cancelled it.", hint=hint, at=at, job=row, left_s=row["left_s"], can_retry=True
        )  # fmt: skip

    took = f" It took {format_duration(row['elapsed_s'])}." if row["elapsed_s"] is not None else ""
    return make_step(name, "done", f"{job.summary or 'Done.'}{took}", at=at, job=row, left_s=row["left_s"])


def make_queued_step(session: Session, job: Job, row: JobJson, name: str) -> StepJson:
    """A job that waits: how many come before it, and how long that takes."""
    before, seconds = count_jobs_before(session, job), find_median_duration(session, job.kind)
    sentence = f"{before} jobs are before it." if before else "It is the next in the queue."

    if seconds:
        sentence += f" Jobs of this kind take {format_duration(seconds)}."
    if job.note:
        sentence += f" {job.note}"
    if job.error:
        sentence += f" The last attempt failed: {job.error}"

    left_s = round((before + 1) * seconds / max(context().settings.workers, 1)) if seconds else None
    return make_step(name, "waiting", sentence, hint=job.hint, at=row["created"], job=row, left_s=left_s)


def count_jobs_before(session: Session, job: Job) -> int:
    """How many queued jobs, for the same kind of worker, come before this one."""
    sooner = or_(Job.priority > job.priority, and_(Job.priority == job.priority, Job.id < job.id))
    waiting = and_(Job.state == "queued", Job.needs == job.needs, sooner)
    return session.scalar(select(func.count()).select_from(Job).where(waiting)) or 0


def find_median_duration(session: Session, kind: str) -> float | None:
    """Seconds that a job of this kind took of late; None where none has ended."""
    ended = select(Job.finished - Job.started).where(Job.kind == kind, Job.state == "done")
    times = sorted(t for t in session.scalars(ended.order_by(Job.id.desc()).limit(RECENT_JOBS)) if t is not None)
    return times[len(times) // 2] if times else None


def format_duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def summarize_steps(steps: list[StepJson], is_catalogued: bool, result_count: int) -> tuple[str, str]:
    """State and sentence of a study: the worst first, else what is going on, else that all is done."""
    for state in ("failed", "running", "waiting", "cancelled"):
        step = next((step for step in steps if step["state"] == state), None)
        if step:
            return state, f"{step['step']}: {step['sentence']}"

    if not is_catalogued:
        return "done", "It is not in the catalogue."
    return "done", f"{format_count(result_count, 'segmentation')} ready." if result_count else "Nothing was segmented."
