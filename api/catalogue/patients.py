"""Patients: who they are, how much there is of them."""

from typing import Any

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.catalogue import lookups, series, studies
from api.context import context
from api.web import paging, row_json
from minipacs.catalogue import Patient, Series, Study
from minipacs.errors import NotFound

blueprint = Blueprint("patients", __name__)
FILTERS = {
    "PatientID": paging.equals(Patient.patient_id),
    "PatientName": paging.equals(Patient.patient_name),
    "PatientSex": paging.equals(Patient.patient_sex),
    "PatientBirthDate": paging.equals(Patient.patient_birth_date),
}


@blueprint.get("/patients")
def patients() -> dict[str, Any]:
    """Patients, a page at a time."""
    with context().database.reading() as session:
        chosen = paging.filtered(select(Patient), FILTERS)
        return paging.page(session, chosen, [(Patient.patient_key, False)], "patients")


@blueprint.get("/patients/count")
def patient_count() -> dict[str, Any]:
    """How many patients there are."""
    return lookups.totals(context(), "patients") or {}


@blueprint.get("/patients/<path:patient_id>")
def patient(patient_id: str) -> dict[str, Any]:
    """A patient, by PatientID."""
    return there(lookups.patient(context(), patient_id), patient_id)


@blueprint.get("/patients/<path:patient_id>/studies")
def studies_of_patient(patient_id: str) -> list[dict[str, Any]]:
    """The patient's studies, the newest first."""
    with context().database.reading() as session:
        key = found(session, patient_id).patient_key
        of = paging.filtered(select(Study).where(Study.patient_key == key), studies.FILTERS)
        newest = of.order_by(Study.study_date.desc().nulls_last())
        return [row_json.row(study) for study in session.scalars(newest.order_by(Study.study_instance_uid))]


@blueprint.get("/patients/<path:patient_id>/series")
def series_of_patient(patient_id: str) -> dict[str, Any]:
    """The patient's series, a page at a time."""
    with context().database.reading() as session:
        key = found(session, patient_id).patient_key
        of = select(Series).join(Study, Study.study_instance_uid == Series.study_instance_uid)
        chosen = paging.filtered(of.where(Study.patient_key == key), series.FILTERS)
        return paging.page(session, chosen, [(Series.series_instance_uid, False)], "series")


@blueprint.get("/patients/<path:patient_id>/studycount")
def study_count(patient_id: str) -> dict[str, Any]:
    """How many studies the patient has."""
    return there(lookups.study_count(context(), patient_id), patient_id)


@blueprint.get("/patients/<path:patient_id>/seriescount")
def series_count(patient_id: str) -> dict[str, Any]:
    """How many series the patient has."""
    return there(lookups.series_count(context(), patient_id), patient_id)


@blueprint.get("/patients/<path:patient_id>/imagecount")
def image_count(patient_id: str) -> dict[str, Any]:
    """How many instances the patient has."""
    return there(lookups.image_count(context(), patient_id), patient_id)


@blueprint.get("/patients/<path:patient_id>/counts")
def counts(patient_id: str) -> dict[str, Any]:
    """How many studies, series and instances the patient has."""
    return there(lookups.counts(context(), patient_id), patient_id)


def found(session: Session, patient_id: str) -> Patient:
    """The patient, or `NotFound`."""
    patient = None if "\x00" in patient_id else session.get(Patient, patient_id)
    if patient is None:
        raise missing(patient_id)
    return patient


def there(row: lookups.Found, patient_id: str) -> dict[str, Any]:
    """What was looked up, or `NotFound`."""
    if row is None:
        raise missing(patient_id)
    return row


def missing(patient_id: str) -> NotFound:
    """The error for an unknown PatientID (which the caller knows already)."""
    return NotFound(f"The catalogue has no patient {patient_id!r}.", "GET /patients lists them.")
