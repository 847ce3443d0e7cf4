"""Where is my study, why does it take so long, what went wrong, what can I do: answered without a log.

Each study that matches gets one sentence and its way so far: received, planned, each job with its place
in the queue or how far it is, and what came of it. An error bears what to do about it.
"""

import time
from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from api.catalogue.studies import DATE, anywhere
from api.context import context
from api.results import files
from api.web.responses import wants_page
from api.web.template_filters import count_of
from api.work.jobs import moment, told
from minipacs.archive.client import Arrived
from minipacs.catalogue import Instance, Patient, Rejection, Series, Study
from minipacs.errors import ArchiveError, BadRequest
from minipacs.jobs.follow import FollowedStudy
from minipacs.jobs.record import Job

blueprint = Blueprint("where", __name__)
MOST = 20
RECENT = 30
"""Ended jobs of a kind whose time tells how long the next takes."""
WORDS = {"catalogue": "Catalogue", "segment": "Segmentation"}


@blueprint.get("/where")
def where() -> ResponseReturnValue:
    """`?q=` a UID, PatientID, name or accession number: each study's way, and one sentence on where it is."""
    text = request.args.get("q", "").strip()
    if "\x00" in text:
        raise BadRequest("The question has a NUL character.", "Leave it out.")
    answer = looked(text) if text else {"q": "", "studies": [], "trouble": None}
    return render_template("where.html", **answer) if wants_page() else answer


def looked(text: str) -> dict[str, Any]:
    """Studies the catalogue, the jobs or the archive know by this text."""
    trouble, held = None, {}
    try:
        held = context().archive.arrived(text, MOST)
    except ArchiveError as error:
        trouble = {"message": error.message, "hint": error.hint}
    with context().database.reading() as session:
        newest = select(Study.study_instance_uid).where(anywhere(text)).order_by(DATE.desc()).limit(MOST)
        uids = dict.fromkeys(session.scalars(newest))
        uids |= dict.fromkeys(sorted(held, key=lambda uid: -held[uid].last_update))
        jobs = select(Job.study_instance_uid).where(Job.study_instance_uid == text).limit(1)
        uids |= dict.fromkeys(session.scalars(jobs))
        found = [one(session, uid, held.get(uid)) for uid in list(uids)[:MOST]]
    return {"q": text, "studies": found, "trouble": trouble}


def one(session: Session, uid: str, held: Arrived | None) -> dict[str, Any]:
    """A study's way so far, and the sentence that sums it up."""
    study = session.get(Study, uid)
    patient = session.get(Patient, study.patient_key) if study else None
    steps = [received(session, study, held)]
    for job in session.scalars(select(Job).where(Job.study_instance_uid == uid).order_by(Job.id)):
        steps.append(of_job(session, job))
    rejected = session.scalar(select(func.count()).select_from(Rejection).where(of_study(uid)))
    if rejected:
        sentence = f"{rejected} objects could not be shown; the list of rejections says why."
        steps.append(step("Rejections", "failed", sentence, hint="GET /rejections lists them."))
    made = files.of_study(context().settings, uid)
    return {
        "StudyInstanceUID": uid,
        "PatientID": (patient.patient_id if patient else None) or (held.patient_id if held else None),
        "PatientName": patient.patient_name if patient else None,
        "StudyDescription": study.study_description if study else None,
        "StudyDate": study.study_date.isoformat() if study and study.study_date else None,
        **summed_up(steps, study is not None, len(made)),
        "steps": steps,
        "links": links(uid, study is not None, made),
    }


def step(name: str, state: str, sentence: str, *, at: str | None = None, hint: str = "", **more: Any) -> dict[str, Any]:
    """One stage of the way; `state` is done, running, waiting, failed or cancelled."""
    return {
        **{"step": name, "state": state, "sentence": sentence, "hint": hint, "at": at},
        **{"job": None, "percent": None, "left_s": None, "can_retry": False, **more},
    }


def of_study(uid: str) -> Any:
    """Rejections of objects of this study: their instances stand in the catalogue."""
    instances = select(Instance.sop_instance_uid).join(
        Series, Series.series_instance_uid == Instance.series_instance_uid
    )
    return Rejection.sop_instance_uid.in_(instances.where(Series.study_instance_uid == uid))


def received(session: Session, study: Study | None, held: Arrived | None) -> dict[str, Any]:
    """Whether it is here, whether it is whole."""
    if held is None:
        sentence = "It is in the catalogue; whether the archive holds it was not found out." if study else "Not here."
        return step("Received", "done" if study else "waiting", sentence)
    at = moment(held.last_update)
    followed = session.get(FollowedStudy, held.study_id)
    if followed is not None and followed.due is None:
        return step("Received", "done", f"{held.series} series are in the archive.", at=at)
    quiet = round(time.time() - held.last_update)
    wait = context().settings.stable_age_s
    sentence = f"Its last image came {max(quiet, 0)} s ago; work starts after {wait} s without another."
    if quiet > context().settings.quiet_s + 60:
        return step("Received", "waiting", sentence, at=at, hint="Is the job service running? `minipacs doctor` says.")
    return step("Received", "running", sentence, at=at)


def of_job(session: Session, job: Job) -> dict[str, Any]:
    """A job: its place in the queue, how far it is, or what went wrong."""
    row = told(job)
    name = WORDS.get(job.kind, job.kind)
    if engine := job.args.get("engine"):
        name += f" by {engine}"
    more = {"job": job.id, "percent": row["percent"], "left_s": row["left_s"], "at": row["finished"] or row["started"]}
    if job.state == "queued":
        before, seconds = queue(session, job)
        sentence = f"{before} jobs are before it." if before else "It is the next in the queue."
        sentence += f" Jobs of this kind take {length(seconds)}." if seconds else ""
        again = f" The last attempt failed: {job.error}" if job.error else ""
        left = round((before + 1) * seconds / max(context().settings.workers, 1)) if seconds else None
        more = {**more, "left_s": left, "at": row["created"]}
        return step(name, "waiting", sentence + (f" {job.note}" if job.note else "") + again, hint=job.hint, **more)
    if job.state == "running":
        rest = f", about {length(row['left_s'])} left" if row["left_s"] else ""
        sentence = f"{row['summary'] or 'It has begun'} ({length(row['elapsed_s'] or 0)} so far{rest})."
        return step(name, "running", sentence, **more)
    if job.state == "failed":
        sentence = f"{job.error} ({job.attempt} of {job.attempts} attempts.)"
        return step(name, "failed", sentence, hint=job.hint, **{**more, "can_retry": True})
    if job.state == "cancelled":
        return step(name, "cancelled", "Somebody cancelled it.", hint="Retry it.", **{**more, "can_retry": True})
    took = f" It took {length(row['elapsed_s'])}." if row["elapsed_s"] is not None else ""
    return step(name, "done", f"{job.summary or 'Done.'}{took}", **more)


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


def summed_up(steps: list[dict[str, Any]], catalogued: bool, made: int) -> dict[str, str]:
    """`state` and `answer`: the worst first, else what is going on, else that all is done."""
    for wanted in ("failed", "running", "waiting", "cancelled"):
        found = next((one for one in steps if one["state"] == wanted), None)
        if found:
            return {"state": wanted, "answer": f"{found['step']}: {found['sentence']}"}
    results_made = f"{count_of(made, 'segmentation')} ready." if made else "Nothing was segmented."
    return {"state": "done", "answer": results_made if catalogued else "It is not in the catalogue."}


def links(uid: str, catalogued: bool, made: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Where to look at it."""
    found = [{"name": "Study", "url": f"/studies/{uid}"}] if catalogued else []
    found.append({"name": "Open in OHIF", "url": f"/ohif/viewer?StudyInstanceUIDs={uid}"})
    for result in made:
        if "model.glb" in result["addresses"]:
            url = f"/studies/{uid}/3d/{result['series_instance_uid']}/{result['engine']}"
            found.append({"name": f"3-D ({result['engine']})", "url": url})
    return found
