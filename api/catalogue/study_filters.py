"""Which studies a list has, and in which order."""

from datetime import date
from typing import Any

from sqlalchemy import Date, and_, func, literal, or_, select

from api.web import paging
from minipacs.catalogue import Patient, Series, Study

DATE = func.coalesce(Study.study_date, literal(date.min, Date()), type_=Date())
ORDER = [(DATE, True), (Study.study_instance_uid, False), (Study.study_key, False)]
"""The newest first; studies without a date last."""


def has_series_of_modality(modality: str) -> Any:
    """Studies that have a series of this modality."""
    return Study.study_key.in_(select(Series.study_key).where(Series.modality == modality))


def make_patient_filter(condition: Any) -> paging.Filter:
    """A filter on the patient's columns."""
    return lambda text: Study.patient_key.in_(select(Patient.patient_key).where(condition(text)))


def matches_all_words(text: str) -> Any:
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
    "q": matches_all_words,
    "modality": has_series_of_modality,
    "Modality": has_series_of_modality,
    "from": paging.on_or_after(Study.study_date),
    "to": paging.on_or_before(Study.study_date),
    "StudyDate": paging.equals(Study.study_date),
    "StudyDescription": paging.equals(Study.study_description),
    "AccessionNumber": paging.equals(Study.accession_number),
    "PatientID": make_patient_filter(paging.equals(Patient.patient_id)),
    "PatientName": make_patient_filter(paging.equals(Patient.patient_name)),
}
