"""Patients: who they are, how much there is of them."""

from typing import Any

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import describe, listing
from api.state import state
from minipacs.catalogue import Counts, Patient, Study
from minipacs.errors import NotFound

blueprint = Blueprint("patients", __name__)
FILTERS = {
    "PatientID": listing.equals(Patient.patient_id),
    "PatientName": listing.equals(Patient.patient_name),
    "PatientSex": listing.equals(Patient.patient_sex),
    "PatientBirthDate": listing.equals(Patient.patient_birth_date),
}


@blueprint.get("/patients")
def patients() -> dict[str, Any]:
    """Patients, a page at a time."""
    with state().database.reading() as session:
        chosen = listing.filtered(select(Patient), FILTERS)
        return listing.page(session, chosen, [(Patient.patient_key, False)], "patients")


@blueprint.get("/patients/count")
def patient_count() -> dict[str, int]:
    """How many patients there are."""
    return {"patient_count": state().quick.totals().patients}


@blueprint.get("/patients/<path:patient_id>")
def patient(patient_id: str) -> dict[str, Any]:
    """A patient, by PatientID."""
    return told(patient_id)


@blueprint.get("/patients/<path:patient_id>/studies")
def studies_of_patient(patient_id: str) -> list[dict[str, Any]]:
    """The patient's studies, the newest first."""
    with state().database.reading() as session:
        key = found(session, patient_id).patient_key
        newest = select(Study).where(Study.patient_key == key).order_by(Study.study_date.desc().nulls_last())
        return [describe.row(study) for study in session.scalars(newest.order_by(Study.study_instance_uid))]


@blueprint.get("/patients/<path:patient_id>/studycount")
def study_count(patient_id: str) -> dict[str, Any]:
    """How many studies the patient has."""
    return {"patient_id": patient_id, "study_count": counted(patient_id).studies}


@blueprint.get("/patients/<path:patient_id>/seriescount")
def series_count(patient_id: str) -> dict[str, Any]:
    """How many series the patient has."""
    return {"patient_id": patient_id, "series_count": counted(patient_id).series}


@blueprint.get("/patients/<path:patient_id>/imagecount")
def image_count(patient_id: str) -> dict[str, Any]:
    """How many instances the patient has."""
    return {"patient_id": patient_id, "images_count": counted(patient_id).images}


@blueprint.get("/patients/<path:patient_id>/counts")
def counts(patient_id: str) -> dict[str, Any]:
    """How many studies, series and instances the patient has."""
    count = counted(patient_id)
    return {
        "patient_id": patient_id,
        "study_count": count.studies,
        "series_count": count.series,
        "image_count": count.images,
    }


def found(session: Session, patient_id: str) -> Patient:
    """The patient, or `NotFound`."""
    patient = None if "\x00" in patient_id else session.get(Patient, patient_id)
    if patient is None:
        raise missing(patient_id)
    return patient


def told(patient_id: str) -> dict[str, Any]:
    """The patient as JSON, or `NotFound`."""
    row = None if "\x00" in patient_id else state().quick.row(Patient, patient_id)
    if row is None:
        raise missing(patient_id)
    return row


def counted(patient_id: str) -> Counts:
    """The patient's counts, or `NotFound`."""
    row = told(patient_id)
    return Counts(1, *(row[f"NumberOfPatientRelated{what}"] for what in ("Studies", "Series", "Instances")))


def missing(patient_id: str) -> NotFound:
    """The error for an unknown PatientID (which the caller knows already)."""
    return NotFound(f"The catalogue has no patient {patient_id!r}.", "GET /patients lists them.")
