"""The study list, answered from the catalogue: QIDO-RS at study level (PS3.18 10.6), newest first.

Orthanc 1.10.1 answers in the order of its own identifiers, OHIF asks for 101 studies and sorts those: new
studies can be missing. A study is listed here once it is catalogued, which is when it has become stable.
Queries that the catalogue cannot answer (`answer_studies` is None) go to Orthanc: other matching keys, XML, a study
by its UID that is not catalogued yet, and instances. Series are `api.dicomweb.qido_series`.
"""

from collections import defaultdict
from typing import Any

from flask import Response, request
from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from api.context import context
from api.dicomweb import matching
from api.dicomweb.dicom_json import DicomJson, dicom_json_response, to_dicom_json
from api.dicomweb.matching import Match, match_dates, match_text, match_uids, split_values
from minipacs.catalogue import Patient, Series, Study


def _match_modalities(text: str) -> ColumnElement[bool]:
    """Match studies with a series of one of these modalities."""
    series = select(Series.series_key).where(Series.study_key == Study.study_key)
    is_one_of_them = or_(*(match_text(Series.modality)(value) for value in split_values(text)))
    return series.where(is_one_of_them).exists()


KEYS: dict[str, Match] = {
    "StudyInstanceUID": match_uids(Study.study_instance_uid),
    "StudyDate": match_dates(Study.study_date),
    "ModalitiesInStudy": _match_modalities,
    "PatientBirthDate": match_dates(Patient.patient_birth_date),
    "PatientSex": match_text(Patient.patient_sex),
    "PatientName": match_text(Patient.patient_name),
    "PatientID": match_text(Patient.patient_id),
    "StudyID": match_text(Study.study_id),
    "StudyDescription": match_text(Study.study_description),
    "AccessionNumber": match_text(Study.accession_number),
    "ReferringPhysicianName": match_text(Study.referring_physician_name),
}
"""The matching keys of PS3.18 table 10.6.1-5 that the catalogue holds, and OHIF's others."""


def answer_studies() -> Response | None:
    """The answer to `GET /dicom-web/studies?…`, or None when only Orthanc can give it."""
    conditions = matching.parse_matching_keys(KEYS)
    if conditions is None:
        return None
    limit, offset = matching.parse_limit_and_offset()

    with context().database.reading() as session:
        rows = session.execute(_select_studies_newest_first(conditions).limit(limit + 1).offset(offset)).all()
        studies = _studies_to_dicom_json(session, [(study, patient) for study, patient in rows[:limit]])

    if not studies and "StudyInstanceUID" in conditions:
        return None
    return dicom_json_response(studies, has_more=len(rows) > limit == matching.MAX_RESULTS)


def _select_studies_newest_first(conditions: dict[str, ColumnElement[bool]]) -> Select[Study, Patient]:
    newest = Study.study_date.desc().nulls_last(), Study.study_time.desc().nulls_last()
    statement = select(Study, Patient).join(Patient, Patient.patient_key == Study.patient_key)
    return statement.where(*conditions.values()).order_by(*newest, Study.study_instance_uid, Study.study_key)


def _studies_to_dicom_json(session: Session, rows: list[tuple[Study, Patient]]) -> list[DicomJson]:
    """Each study in the DICOM JSON model (PS3.18 F.2) with what table 10.6.3-3 wants of it."""
    keys = [study.study_key for study, _ in rows]
    modalities: dict[str, list[str]] = defaultdict(list)
    pairs = select(Series.study_key, Series.modality).where(Series.study_key.in_(keys)).distinct()
    for key, modality in session.execute(pairs.order_by(Series.modality)):
        if modality:
            modalities[key].append(modality)
    return [_study_to_dicom_json(study, patient, modalities[study.study_key]) for study, patient in rows]


def _study_to_dicom_json(study: Study, patient: Patient, modalities: list[str]) -> DicomJson:
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "InstanceAvailability": "ONLINE",
        "ModalitiesInStudy": modalities,
        "RetrieveURL": f"{request.host_url}dicom-web/studies/{study.study_instance_uid}",
        "NumberOfStudyRelatedSeries": study.number_of_study_related_series,
        "NumberOfStudyRelatedInstances": study.number_of_study_related_instances,
    }
    return to_dicom_json(values, study, patient)
