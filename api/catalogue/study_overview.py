"""What the page of studies shows of each: its patient, modalities, jobs, results, and a picture of it."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.catalogue.study_filters import FILTERS, ORDER
from api.context import context
from api.results import files
from api.web.paging import PageParameters, apply_filters, read_page
from api.web.row_json import JsonRow, row_as_json
from api.work.job_json import job_json
from minipacs.catalogue import Instance, Patient, Rendering, Series, Study, lookup, read_catalogue_counts
from minipacs.jobs.record import Job


def list_series(session: Session, study_key: str) -> list[Series]:
    """The series of a study, by number."""
    of_study = select(Series).where(Series.study_key == study_key)
    return list(session.scalars(of_study.order_by(Series.series_number, Series.series_instance_uid)))


def find_series_pictures(session: Session, study_key: str) -> dict[str, str]:
    """An instance with a picture for each series that has one: from the middle of the series."""
    pictures: dict[str, str] = {}
    for one in list_series(session, study_key):
        rendered = (
            select(Instance.sop_instance_uid)
            .where(Instance.series_key == one.series_key)
            .where(select(Rendering.rendering_id).where(Rendering.instance_key == Instance.instance_key).exists())
            .order_by(Instance.instance_number)
            .offset(one.number_of_series_related_instances // 2)
            .limit(1)
        )
        if uid := session.scalar(rendered):
            pictures[one.series_instance_uid] = uid
    return pictures


def read_study_overview(which: PageParameters, given: Mapping[str, str]) -> JsonRow:
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
            study["patient"] = row_as_json(patients[study["patient_key"]])
            study["modalities"] = sorted(modalities[uid])
            study["jobs"] = [job for (of, _), job in jobs.items() if of == uid]
            study["results"] = files.read_results(context(), uid)
            meant = lookup.find_study(session, uid)
            shown = find_series_pictures(session, meant.study_key) if meant else {}
            study["picture"] = next(iter(shown.values()), None)
        return {**page, "wanted": given, "counts": read_catalogue_counts(session)}
