"""Where is my study, why does it take so long, what went wrong, what can I do: answered without a log.

Each study that matches gets one sentence and its way so far: received, planned, each job with its place
in the queue or how far it is, and what came of it. An error bears what to do about it.
"""

import time
from typing import Any, TypedDict

from flask import Blueprint
from flask.typing import ResponseReturnValue
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from api.catalogue.studies import DATE, anywhere
from api.context import context
from api.results import files
from api.results.files import ResultJson
from api.web.describe_route import Parameters, answers, takes_query
from api.web.responses import reply
from api.web.row_json import iso_time
from api.web.template_filters import count_of
from api.work.jobs import ErrorText, JobJson, job_json
from minipacs.archive.client import Arrived
from minipacs.catalogue import Instance, Patient, Rejection, Series, Study
from minipacs.errors import ArchiveError
from minipacs.jobs.follow import FollowedStudy
from minipacs.jobs.record import Job

blueprint = Blueprint("where", __name__)
MAX_STUDIES = 20
"""Studies of one answer."""
RECENT = 30
"""Ended jobs of a kind whose time tells how long the next takes."""
WORDS = {"catalogue": "Catalogue", "segment": "Segmentation"}


class WhereParameters(Parameters):
    """What the study is known by."""

    q: str = ""


class StepJson(TypedDict):
    """One stage of a study's way."""

    step: str
    state: str
    sentence: str
    hint: str
    at: str | None
    job: int | None
    percent: int | None
    left_s: int | None
    can_retry: bool


class LinkJson(TypedDict):
    """Where to look."""

    name: str
    url: str


class StudyStatus(TypedDict):
    """A study's way so far, and the sentence that sums it up."""

    StudyInstanceUID: str
    PatientID: str | None
    PatientName: str | None
    StudyDescription: str | None
    StudyDate: str | None
    state: str
    answer: str
    steps: list[StepJson]
    links: list[LinkJson]


class WhereAnswer(TypedDict):
    """The studies that match; `trouble`: why the archive could not be asked."""

    q: str
    studies: list[StudyStatus]
    trouble: ErrorText | None


@blueprint.get("/where")
@takes_query(WhereParameters)
@answers(WhereAnswer, page="where.html")
def where(query: WhereParameters) -> ResponseReturnValue:
    """`?q=` a UID, PatientID, name or accession number: each study's way, and one sentence on where it is."""
    text = query.q.strip()
    return reply(find_studies(text) if text else WhereAnswer(q="", studies=[], trouble=None))


def find_studies(text: str) -> WhereAnswer:
    """Studies the catalogue, the jobs or the archive know by this text."""
    trouble: ErrorText | None = None
    in_archive: dict[str, Arrived] = {}
    try:
        in_archive = context().archive.arrived(text, MAX_STUDIES)
    except ArchiveError as error:
        trouble = {"message": error.message, "hint": error.hint}

    with context().database.reading() as session:
        newest = select(Study.study_instance_uid).where(anywhere(text)).order_by(DATE.desc()).limit(MAX_STUDIES)
        uids = dict.fromkeys(session.scalars(newest))
        uids |= dict.fromkeys(sorted(in_archive, key=lambda uid: -in_archive[uid].last_update))

        jobs = select(Job.study_instance_uid).where(Job.study_instance_uid == text).limit(1)
        uids |= dict.fromkeys(session.scalars(jobs))

        studies = [study_status(session, uid, in_archive.get(uid)) for uid in list(uids)[:MAX_STUDIES]]
        return {"q": text, "studies": studies, "trouble": trouble}


def study_status(session: Session, uid: str, arrived: Arrived | None) -> StudyStatus:
    """A study's way so far, and the sentence that sums it up."""
    study = session.get(Study, uid)
    patient = session.get(Patient, study.patient_key) if study else None
    results = files.read_results(context().settings, uid)

    steps = [arrival_step(session, study, arrived)]
    jobs = select(Job).where(Job.study_instance_uid == uid).order_by(Job.id)
    steps += [job_step(session, job) for job in session.scalars(jobs)]

    rejected = session.scalar(select(func.count()).select_from(Rejection).where(of_study(uid)))
    if rejected:
        sentence = f"{rejected} objects could not be shown; the list of rejections says why."
        steps.append(make_step("Rejections", "failed", sentence, hint="GET /rejections lists them."))

    state, answer = summarize(steps, study is not None, len(results))
    return {
        "StudyInstanceUID": uid,
        "PatientID": (patient.patient_id if patient else None) or (arrived.patient_id if arrived else None),
        "PatientName": patient.patient_name if patient else None,
        "StudyDescription": study.study_description if study else None,
        "StudyDate": study.study_date.isoformat() if study and study.study_date else None,
        "state": state,
        "answer": answer,
        "steps": steps,
        "links": links(uid, study is not None, results),
    }


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
    """One stage of the way; `state` is done, running, waiting, failed or cancelled."""
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


def of_study(uid: str) -> Any:
    """Rejections of objects of this study: their instances stand in the catalogue."""
    instances = select(Instance.sop_instance_uid).join(
        Series, Series.series_instance_uid == Instance.series_instance_uid
    )
    return Rejection.sop_instance_uid.in_(instances.where(Series.study_instance_uid == uid))


def arrival_step(session: Session, study: Study | None, arrived: Arrived | None) -> StepJson:
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


def job_step(session: Session, job: Job) -> StepJson:
    """A job: its place in the queue, how far it is, or what went wrong."""
    row = job_json(job)
    name = WORDS.get(job.kind, job.kind)
    if engine := job.args.get("engine"):
        name += f" by {engine}"
    at = row["finished"] or row["started"]

    if job.state == "queued":
        return queued_step(session, job, row, name)

    if job.state == "running":
        rest = f", about {length(row['left_s'])} left" if row["left_s"] else ""
        sentence = f"{row['summary'] or 'It has begun'} ({length(row['elapsed_s'] or 0)} so far{rest})."
        return make_step(name, "running", sentence, at=at, job=row, left_s=row["left_s"])

    if job.state == "failed":
        sentence = f"{job.error} ({job.attempt} of {job.attempts} attempts.)"
        return make_step(
            name, "failed", sentence, hint=job.hint, at=at, job=row, left_s=row["left_s"], can_retry=True
        )  # fmt: skip

    if job.state == "cancelled":
        hint = "Retry it."
        return make_step(
            name, "cancelled", "Somebody cancelled it.", hint=hint, at=at, job=row, left_s=row["left_s"], can_retry=True
        )  # fmt: skip

    took = f" It took {length(row['elapsed_s'])}." if row["elapsed_s"] is not None else ""
    return make_step(name, "done", f"{job.summary or 'Done.'}{took}", at=at, job=row, left_s=row["left_s"])


def queued_step(session: Session, job: Job, row: JobJson, name: str) -> StepJson:
    """A job that waits: how many come before it, and how long that takes."""
    before, seconds = queue(session, job)
    sentence = f"{before} jobs are before it." if before else "It is the next in the queue."

    if seconds:
        sentence += f" Jobs of this kind take {length(seconds)}."
    if job.note:
        sentence += f" {job.note}"
    if job.error:
        sentence += f" The last attempt failed: {job.error}"

    left_s = round((before + 1) * seconds / max(context().settings.workers, 1)) if seconds else None
    return make_step(name, "waiting", sentence, hint=job.hint, at=row["created"], job=row, left_s=left_s)


def queue(session: Session, job: Job) -> tuple[int, float | None]:
    """How many jobs come before this one; seconds that a job of its kind took of late."""
    sooner = or_(Job.priority > job.priority, and_(Job.priority == job.priority, Job.id < job.id))
    waiting = and_(Job.state == "queued", Job.needs == job.needs, sooner)
    before = session.scalar(select(func.count()).select_from(Job).where(waiting)) or 0
    ended = select(Job.finished - Job.started).where(Job.kind == job.kind, Job.state == "done")
    times = sorted(t for t in session.scalars(ended.order_by(Job.id.desc()).limit(RECENT)) if t is not None)
    return before, times[len(times) // 2] if times else None


def length(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def summarize(steps: list[StepJson], is_catalogued: bool, results: int) -> tuple[str, str]:
    """State and sentence of a study: the worst first, else what is going on, else that all is done."""
    for wanted in ("failed", "running", "waiting", "cancelled"):
        found = next((one for one in steps if one["state"] == wanted), None)
        if found:
            return wanted, f"{found['step']}: {found['sentence']}"
    results_made = f"{count_of(results, 'segmentation')} ready." if results else "Nothing was segmented."
    return "done", results_made if is_catalogued else "It is not in the catalogue."


def links(uid: str, is_catalogued: bool, results: list[ResultJson]) -> list[LinkJson]:
    """Where to look at it."""
    found: list[LinkJson] = [{"name": "Study", "url": f"/studies/{uid}"}] if is_catalogued else []
    found.append({"name": "Open in OHIF", "url": f"/ohif/viewer?StudyInstanceUIDs={uid}"})
    for result in results:
        if "model.glb" in result["addresses"]:
            url = f"/studies/{uid}/3d/{result['series_instance_uid']}/{result['engine']}"
            found.append({"name": f"3-D ({result['engine']})", "url": url})
    return found
