"""Studies: the list, one study with its series, as JSON for scripts and as pages for people."""

from datetime import date
from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Date, and_, func, literal, or_, select
from sqlalchemy.orm import Session

from api.catalogue import instances, lookups, series
from api.context import context
from api.results import files
from api.web import paging, row_json
from api.web.responses import wants_page
from api.work.jobs import told
from minipacs.catalogue import Instance, Patient, Rendering, Result, Segment, Series, Study, totals
from minipacs.errors import NotFound
from minipacs.jobs.record import Job

blueprint = Blueprint("studies", __name__)
DATE = func.coalesce(Study.study_date, literal(date.min, Date()), type_=Date())
ORDER = [(DATE, True), (Study.study_instance_uid, False)]
"""The newest first; studies without a date last."""


def with_modality(modality: str) -> Any:
    """Studies that have a series of this modality."""
    return Study.study_instance_uid.in_(select(Series.study_instance_uid).where(Series.modality == modality))


def of_patient(condition: Any) -> paging.Filter:
    """A filter on the patient's columns."""
    return lambda text: Study.patient_key.in_(select(Patient.patient_key).where(condition(text)))


def anywhere(text: str) -> Any:
    """`?q=`: every word stands in the patient's name or ID, the description, the accession number or the UID."""
    conditions = []
    for word in text.split()[:10]:
        like = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        person = or_(Patient.patient_name.ilike(like, escape="\\"), Patient.patient_id.ilike(like, escape="\\"))
        conditions.append(
            or_(
                Study.patient_key.in_(select(Patient.patient_key).where(person)),
                Study.study_description.ilike(like, escape="\\"),
                Study.accession_number.ilike(like, escape="\\"),
                Study.study_instance_uid == word,
            )
        )
    return and_(True, *conditions)


FILTERS = {
    "q": anywhere,
    "modality": with_modality,
    "Modality": with_modality,
    "from": paging.on_or_after(Study.study_date),
    "to": paging.on_or_before(Study.study_date),
    "StudyDate": paging.equals(Study.study_date),
    "StudyDescription": paging.equals(Study.study_description),
    "AccessionNumber": paging.equals(Study.accession_number),
    "PatientID": of_patient(paging.equals(Patient.patient_id)),
    "PatientName": of_patient(paging.equals(Patient.patient_name)),
}


@blueprint.get("/studies")
def studies() -> ResponseReturnValue:
    """Studies, the newest first, a page at a time."""
    if wants_page():
        wanted = {name: text for name, text in request.args.items() if text}
        return render_template("studies.html", **overview(wanted))
    with context().database.reading() as session:
        return paging.page(session, paging.filtered(select(Study), FILTERS, request.args), ORDER, "studies")


@blueprint.get("/studies/count")
def study_count() -> dict[str, Any]:
    """How many studies there are."""
    return lookups.totals(context(), "studies") or {}


@blueprint.get("/studies/<study_instance_uid>")
def study(study_instance_uid: str) -> ResponseReturnValue:
    """A study, by its UID, with its series and results."""
    answer = lookups.study(context(), study_instance_uid)
    if answer is None:
        raise missing(study_instance_uid)
    if not wants_page():
        return answer
    with context().database.reading() as session:
        jobs = session.scalars(select(Job).where(Job.study_instance_uid == study_instance_uid).order_by(Job.id.desc()))
        latest = {job.kind: told(job) for job in reversed(list(jobs))}
        return render_template(
            "study.html",
            study=answer,
            jobs=latest.values(),
            pictures=pictures_of(session, study_instance_uid),
        )


@blueprint.get("/studies/<study_instance_uid>/series")
def series_of_study(study_instance_uid: str) -> list[dict[str, Any]]:
    """The series of a study, by number."""
    with context().database.reading() as session:
        found(session, study_instance_uid)
        chosen = paging.filtered(select(Series).where(Series.study_instance_uid == study_instance_uid), series.FILTERS)
        ordered = chosen.order_by(Series.series_number, Series.series_instance_uid)
        return [row_json.row(s) for s in session.scalars(ordered)]


@blueprint.get("/studies/<study_instance_uid>/images")
def images_of_study(study_instance_uid: str) -> dict[str, Any]:
    """The instances of a study, a page at a time."""
    with context().database.reading() as session:
        found(session, study_instance_uid)
        of = select(Instance).join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        chosen = paging.filtered(of.where(Series.study_instance_uid == study_instance_uid), instances.FILTERS)
        return paging.page(session, chosen, [(Instance.sop_instance_uid, False)], "images")


@blueprint.get("/studies/<study_instance_uid>/segments")
def segments_of_study(study_instance_uid: str) -> list[dict[str, Any]]:
    """Every segment of every SEG of a study, with its volume.

    `superseded_by`: the SEG series that took this one's place, because its source changed; else null.
    """
    with context().database.reading() as session:
        found(session, study_instance_uid)
        wanted = (
            select(Segment, Instance.series_instance_uid, Result.superseded_by)
            .join(Instance, Instance.sop_instance_uid == Segment.sop_instance_uid)
            .outerjoin(Result, Result.seg_series_instance_uid == Instance.series_instance_uid)
            .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
            .where(Series.study_instance_uid == study_instance_uid)
            .order_by(Segment.sop_instance_uid, Segment.segment_number)
        )
        rows = session.execute(wanted)
        return [{**row_json.row(s), "SeriesInstanceUID": uid, "superseded_by": newer} for s, uid, newer in rows]


def found(session: Session, study_instance_uid: str) -> Study:
    """The study, or `NotFound`."""
    entity = None if "\x00" in study_instance_uid else session.get(Study, study_instance_uid)
    if entity is None:
        raise missing(study_instance_uid)
    return entity


def missing(study_instance_uid: str) -> NotFound:
    """The error for an unknown study."""
    return NotFound(f"The catalogue has no study {study_instance_uid!r}.", "GET /studies lists them.")


def series_of(session: Session, study_instance_uid: str) -> list[Series]:
    """The series of a study, by number."""
    wanted = select(Series).where(Series.study_instance_uid == study_instance_uid)
    return list(session.scalars(wanted.order_by(Series.series_number, Series.series_instance_uid)))


def pictures_of(session: Session, study_instance_uid: str) -> dict[str, str]:
    """An instance with a picture for each series that has one: from the middle of the series."""
    pictures: dict[str, str] = {}
    for one in series_of(session, study_instance_uid):
        rendered = (
            select(Instance.sop_instance_uid)
            .where(Instance.series_instance_uid == one.series_instance_uid)
            .where(
                select(Rendering.rendering_id).where(Rendering.sop_instance_uid == Instance.sop_instance_uid).exists()
            )
            .order_by(Instance.instance_number)
            .offset(one.number_of_series_related_instances // 2)
            .limit(1)
        )
        if uid := session.scalar(rendered):
            pictures[one.series_instance_uid] = uid
    return pictures


def overview(wanted: dict[str, str]) -> dict[str, Any]:
    """What the page of studies shows: a page of the list, each with its patient, modalities and jobs."""
    with context().database.reading() as session:
        page = paging.page(session, paging.filtered(select(Study), FILTERS, wanted), ORDER, "studies")
        uids = [study["StudyInstanceUID"] for study in page["studies"]]
        keys = [study["patient_key"] for study in page["studies"]]
        patients = {p.patient_key: p for p in session.scalars(select(Patient).where(Patient.patient_key.in_(keys)))}
        modalities: dict[str, set[str]] = {uid: set() for uid in uids}
        for uid, modality in session.execute(
            select(Series.study_instance_uid, Series.modality).where(Series.study_instance_uid.in_(uids))
        ):
            modalities[uid].add(modality or "?")
        open_jobs = select(Job).where(Job.study_instance_uid.in_(uids)).order_by(Job.id)
        jobs = {(job.study_instance_uid, job.kind): told(job) for job in session.scalars(open_jobs)}
        for study in page["studies"]:
            uid = study["StudyInstanceUID"]
            study["patient"] = row_json.row(patients[study["patient_key"]])
            study["modalities"] = sorted(modalities[uid])
            study["jobs"] = [job for (of, _), job in jobs.items() if of == uid]
            study["results"] = files.of_study(context().settings, uid)
            shown = pictures_of(session, uid)
            study["picture"] = next(iter(shown.values()), None)
        return {**page, "wanted": wanted, "counts": totals(session)}
