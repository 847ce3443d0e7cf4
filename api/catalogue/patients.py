"""Patients: who they are, how much there is of them."""

from flask import Blueprint
from sqlalchemy import select

from api.catalogue import lookups, series, studies, study_filters
from api.catalogue.answer_types import (
    CountsOfPatient,
    InstanceCountOfPatient,
    PatientPage,
    PatientRow,
    PatientTotal,
    SeriesCountOfPatient,
    SeriesPage,
    StudyCountOfPatient,
    StudyRow,
)
from api.context import context
from api.web import paging
from api.web.describe_route import QueryParameters, answers, discloses_nothing, takes_query
from api.web.paging import (
    PageParameters,
    apply_filters,
    make_filter_parameters,
    one_or_404,
    read_given_filters,
    read_page,
)
from api.web.row_json import JsonRow, row_as_json
from minipacs.catalogue import Patient, Series, Study

blueprint = Blueprint("patients", __name__)
LIST = "/patients"
FILTERS = {
    "PatientID": paging.equals(Patient.patient_id),
    "PatientName": paging.equals(Patient.patient_name),
    "PatientSex": paging.equals(Patient.patient_sex),
    "PatientBirthDate": paging.equals(Patient.patient_birth_date),
}
PatientParameters = make_filter_parameters("PatientParameters", FILTERS, PageParameters)


@blueprint.get("/patients")
@takes_query(PatientParameters)
@answers(PatientPage)
def patients(query: PageParameters) -> JsonRow:
    """Patients, a page at a time."""
    chosen = apply_filters(select(Patient), FILTERS, read_given_filters(query))

    with context().database.reading() as session:
        return read_page(session, chosen, [(Patient.patient_key, False)], "patients", query)


@blueprint.get("/patients/count")
@discloses_nothing
@answers(PatientTotal)
def patient_count() -> JsonRow:
    """How many patients there are."""
    return lookups.find_total(context(), "patients") or {}


@blueprint.get("/patients/<path:patient_id>")
@answers(PatientRow)
def patient(patient_id: str) -> JsonRow:
    """A patient, by PatientID."""
    return one_or_404(lookups.find_patient(context(), patient_id), "patient", patient_id, LIST)


@blueprint.get("/patients/<path:patient_id>/studies")
@takes_query(studies.StudyFilters)
@answers(list[StudyRow])
def studies_of_patient(query: QueryParameters, patient_id: str) -> list[JsonRow]:
    """The patient's studies, the newest first."""
    with context().database.reading() as session:
        patient = one_or_404(session.get(Patient, patient_id), "patient", patient_id, LIST)
        of_patient = select(Study).where(Study.patient_key == patient.patient_key)
        chosen = apply_filters(of_patient, study_filters.FILTERS, read_given_filters(query))

        newest = chosen.order_by(Study.study_date.desc().nulls_last(), Study.study_instance_uid)
        return [row_as_json(study) for study in session.scalars(newest)]


@blueprint.get("/patients/<path:patient_id>/series")
@takes_query(series.SeriesParameters)
@answers(SeriesPage)
def series_of_patient(query: PageParameters, patient_id: str) -> JsonRow:
    """The patient's series, a page at a time."""
    with context().database.reading() as session:
        patient = one_or_404(session.get(Patient, patient_id), "patient", patient_id, LIST)
        joined = select(Series).join(Study, Study.study_key == Series.study_key)
        of_patient = joined.where(Study.patient_key == patient.patient_key)

        chosen = apply_filters(of_patient, series.FILTERS, read_given_filters(query))
        return read_page(session, chosen, series.ORDER, "series", query)


@blueprint.get("/patients/<path:patient_id>/studycount")
@answers(StudyCountOfPatient)
def study_count(patient_id: str) -> JsonRow:
    """How many studies the patient has."""
    return one_or_404(lookups.find_study_count(context(), patient_id), "patient", patient_id, LIST)


@blueprint.get("/patients/<path:patient_id>/seriescount")
@answers(SeriesCountOfPatient)
def series_count(patient_id: str) -> JsonRow:
    """How many series the patient has."""
    return one_or_404(lookups.find_series_count(context(), patient_id), "patient", patient_id, LIST)


@blueprint.get("/patients/<path:patient_id>/imagecount")
@answers(InstanceCountOfPatient)
def image_count(patient_id: str) -> JsonRow:
    """How many instances the patient has."""
    return one_or_404(lookups.find_instance_count(context(), patient_id), "patient", patient_id, LIST)


@blueprint.get("/patients/<path:patient_id>/counts")
@answers(CountsOfPatient)
def counts(patient_id: str) -> JsonRow:
    """How many studies, series and instances the patient has."""
    return one_or_404(lookups.find_all_counts(context(), patient_id), "patient", patient_id, LIST)
