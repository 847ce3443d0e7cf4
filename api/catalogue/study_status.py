"""Where is my study, why does it take so long, what went wrong, what can I do: answered without a log.

Each study that matches gets one sentence and its stages so far: received, planned, each job with its place
in the queue or how far it is, and what came of it. An error has a remedy.
"""

from typing import TypedDict

from flask import Blueprint
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.catalogue.status_steps import StepJson, make_arrival_step, make_job_step, make_step, summarize_steps
from api.catalogue.study_filters import DATE, matches_all_words
from api.context import context
from api.results import files
from api.results.files import ResultJson
from api.web.describe_route import QueryParameters, answers, takes_query
from api.web.disclosed import note_disclosed
from api.web.responses import send_json_or_page
from api.work.job_json import ErrorText
from minipacs.archive.client import ArchivedStudy
from minipacs.catalogue import Patient, Rejection, Study, lookup
from minipacs.errors import ArchiveError
from minipacs.jobs.record import Job

blueprint = Blueprint("where", __name__)
MAX_STUDIES = 20
"""Studies of one answer."""


class WhereParameters(QueryParameters):
    """What the study is known by."""

    q: str = ""
    """A Study Instance UID, PatientID, patient's name or accession number."""


class LinkJson(TypedDict):
    """Where to look."""

    name: str
    url: str


class StudyStatus(TypedDict):
    """The stages of a study so far, and the sentence that sums them up."""

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
def where_is_study(query: WhereParameters) -> ResponseReturnValue:
    """`?q=` a UID, PatientID, name or accession number: each study's stages, and one sentence on where it is."""
    text = query.q.strip()
    return send_json_or_page(find_study_statuses(text) if text else WhereAnswer(q="", studies=[], trouble=None))


def find_study_statuses(text: str) -> WhereAnswer:
    """Studies the catalogue, the jobs or the archive know by this text."""
    trouble: ErrorText | None = None
    in_archive: dict[str, ArchivedStudy] = {}
    try:
        in_archive = context().archive.find_studies(text, MAX_STUDIES)
    except ArchiveError as error:
        trouble = {"message": error.message, "hint": error.hint}

    with context().database.reading() as session:
        matching = select(Study.study_instance_uid).where(matches_all_words(text))
        newest = matching.order_by(DATE.desc()).limit(MAX_STUDIES)
        uids = dict.fromkeys(session.scalars(newest))
        uids |= dict.fromkeys(sorted(in_archive, key=lambda uid: -in_archive[uid].last_update))

        jobs = select(Job.study_instance_uid).where(Job.study_instance_uid == text).limit(1)
        uids |= dict.fromkeys(session.scalars(jobs))

        studies = [read_study_status(session, uid, in_archive.get(uid)) for uid in list(uids)[:MAX_STUDIES]]
        return {"q": text, "studies": studies, "trouble": trouble}


def read_study_status(session: Session, uid: str, arrived: ArchivedStudy | None) -> StudyStatus:
    """The stages of a study so far, and the sentence that sums them up."""
    note_disclosed([uid], rows=1)
    study = lookup.find_study(session, uid)
    patient = session.get(Patient, study.patient_key) if study else None
    results = files.read_results(context(), uid)

    steps = [make_arrival_step(session, study, arrived)]
    jobs = select(Job).where(Job.study_instance_uid == uid).order_by(Job.id)
    steps += [make_job_step(session, job) for job in session.scalars(jobs)]

    rejected = count_rejections(session, study.study_key) if study else 0
    if rejected:
        sentence = f"{rejected} objects could not be shown; the list of rejections says why."
        steps.append(make_step("Rejections", "failed", sentence, hint="GET /rejections lists them."))

    state, answer = summarize_steps(steps, study is not None, len(results))
    return {
        "StudyInstanceUID": uid,
        "PatientID": (patient.patient_id if patient else None) or (arrived.patient_id if arrived else None),
        "PatientName": patient.patient_name if patient else None,
        "StudyDescription": study.study_description if study else None,
        "StudyDate": study.study_date.isoformat() if study and study.study_date else None,
        "state": state,
        "answer": answer,
        "steps": steps,
        "links": list_links(uid, study is not None, results),
    }


def count_rejections(session: Session, study_key: str) -> int:
    """How many objects of this study were rejected."""
    counted = select(func.count()).select_from(Rejection).where(Rejection.study_key == study_key)
    return session.scalar(counted) or 0


def list_links(uid: str, is_catalogued: bool, results: list[ResultJson]) -> list[LinkJson]:
    """Where to look at it."""
    found: list[LinkJson] = [{"name": "Study", "url": f"/studies/{uid}"}] if is_catalogued else []
    found.append({"name": "Open in OHIF", "url": f"/ohif/viewer?StudyInstanceUIDs={uid}"})
    for result in results:
        if "model.glb" in result["addresses"]:
            url = f"/studies/{uid}/3d/{result['series_instance_uid']}/{result['engine']}"
            found.append({"name": f"3-D ({result['engine']})", "url": url})
    return found
