"""Studies: the list, one study with its series, as JSON for scripts and as pages for people."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue
from sqlalchemy import Date, and_, func, literal, or_, select
from sqlalchemy.orm import Session

from api.catalogue import instances, lookups, series
from api.catalogue.answer_types import (
    InstancePage,
    SegmentOfStudy,
    SeriesRow,
    StudyDetails,
    StudyPage,
    StudyTotal,
)
from api.context import context
from api.results import files
from api.web import paging, row_json
from api.web.describe_route import Parameters, answers, takes_query
from api.web.paging import PageParameters, apply_filters, filter_parameters, given_filters, one_or_404, read_page
from api.web.responses import render_page, reply, wants_page
from api.web.row_json import JsonRow
from api.work.jobs import job_json
from minipacs.catalogue import Instance, Patient, Rendering, Result, Segment, Series, Study, totals
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


StudyFilters = filter_parameters("StudyFilters", FILTERS, Parameters)
StudyParameters = filter_parameters("StudyParameters", FILTERS, PageParameters)
LIST = "/studies"


@blueprint.get("/studies")
@takes_query(StudyParameters)
@answers(StudyPage, page="studies.html")
def studies(query: PageParameters) -> ResponseReturnValue:
    """Studies, the newest first, a page at a time."""
    given = given_filters(query)
    if wants_page():
        return render_page(read_overview(query, {name: text for name, text in given.items() if text}))

    with context().database.reading() as session:
        return read_page(session, apply_filters(select(Study), FILTERS, given), ORDER, "studies", query)


@blueprint.get("/studies/count")
@answers(StudyTotal)
def study_count() -> JsonRow:
    """How many studies there are."""
    return lookups.totals(context(), "studies") or {}


@blueprint.get("/studies/<study_instance_uid>")
@answers(StudyDetails, page="study.html")
def study(study_instance_uid: str) -> ResponseReturnValue:
    """A study, by its UID, with its series and results."""
    found = one_or_404(lookups.study(context(), study_instance_uid), "study", study_instance_uid, LIST)

    def read_page_values() -> JsonRow:
        with context().database.reading() as session:
            jobs = select(Job).where(Job.study_instance_uid == study_instance_uid).order_by(Job.id)
            latest = {job.kind: job_json(job) for job in session.scalars(jobs)}
            pictures = pictures_of(session, study_instance_uid)
        return {"study": found, "jobs": latest.values(), "pictures": pictures}

    return reply(found, read_page_values)


@blueprint.get("/studies/<study_instance_uid>/series")
@takes_query(series.SeriesFilters)
@answers(list[SeriesRow])
def series_of_study(query: Parameters, study_instance_uid: str) -> list[JsonRow]:
    """The series of a study, by number."""
    with context().database.reading() as session:
        one_or_404(session.get(Study, study_instance_uid), "study", study_instance_uid, LIST)
        of_study = select(Series).where(Series.study_instance_uid == study_instance_uid)
        chosen = apply_filters(of_study, series.FILTERS, given_filters(query))

        ordered = chosen.order_by(Series.series_number, Series.series_instance_uid)
        return [row_json.row(one) for one in session.scalars(ordered)]


@blueprint.get("/studies/<study_instance_uid>/images")
@takes_query(instances.InstanceParameters)
@answers(InstancePage)
def images_of_study(query: PageParameters, study_instance_uid: str) -> JsonRow:
    """The instances of a study, a page at a time."""
    with context().database.reading() as session:
        one_or_404(session.get(Study, study_instance_uid), "study", study_instance_uid, LIST)
        joined = select(Instance).join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        of_study = joined.where(Series.study_instance_uid == study_instance_uid)

        chosen = apply_filters(of_study, instances.FILTERS, given_filters(query))
        return read_page(session, chosen, [(Instance.sop_instance_uid, False)], "images", query)


@blueprint.get("/studies/<study_instance_uid>/segments")
@answers(list[SegmentOfStudy])
def segments_of_study(study_instance_uid: str) -> list[JsonRow]:
    """Every segment of every SEG of a study, with its volume.

    `superseded_by`: the SEG series that took this one's place, because its source changed; else null.
    """
    with context().database.reading() as session:
        one_or_404(session.get(Study, study_instance_uid), "study", study_instance_uid, LIST)
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


def read_overview(which: PageParameters, given: Mapping[str, str]) -> JsonRow:
    """What the page of studies shows: a page of the list, each with its patient, modalities and jobs."""
    with context().database.reading() as session:
        page = read_page(session, apply_filters(select(Study), FILTERS, given), ORDER, "studies", which)
        uids = [study["StudyInstanceUID"] for study in page["studies"]]
        keys = [study["patient_key"] for study in page["studies"]]
        patients = {p.patient_key: p for p in session.scalars(select(Patient).where(Patient.patient_key.in_(keys)))}
        modalities: dict[str, set[str]] = {uid: set() for uid in uids}
        for uid, modality in session.execute(
            select(Series.study_instance_uid, Series.modality).where(Series.study_instance_uid.in_(uids))
        ):
            modalities[uid].add(modality or "?")
        open_jobs = select(Job).where(Job.study_instance_uid.in_(uids)).order_by(Job.id)
        jobs = {(job.study_instance_uid, job.kind): job_json(job) for job in session.scalars(open_jobs)}
        for study in page["studies"]:
            uid = study["StudyInstanceUID"]
            study["patient"] = row_json.row(patients[study["patient_key"]])
            study["modalities"] = sorted(modalities[uid])
            study["jobs"] = [job for (of, _), job in jobs.items() if of == uid]
            study["results"] = files.read_results(context().settings, uid)
            shown = pictures_of(session, uid)
            study["picture"] = next(iter(shown.values()), None)
        return {**page, "wanted": given, "counts": totals(session)}
