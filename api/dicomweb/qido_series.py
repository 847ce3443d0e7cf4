"""The lists of series, answered from the catalogue: QIDO-RS at series level (PS3.18 10.6).

`/studies/{study}/series` is asked by a viewer that shows what there is *now*: the catalogue answers only
when it holds what the archive holds, which is when nothing of the study is waiting to be catalogued and
both count the same series. Otherwise the answer is None, and Orthanc is asked.
"""

from typing import Any

from flask import Response, request
from sqlalchemy import Select, select

from api.context import context
from api.dicomweb import matching
from api.dicomweb.dicom_json import DicomJson, dicom_json_response, to_dicom_json
from api.dicomweb.matching import match_dates, match_numbers, match_text, match_uids
from api.dicomweb.qido_studies import KEYS
from minipacs.catalogue import Patient, Series, Study, lookup
from minipacs.errors import ArchiveError
from minipacs.jobs.planner import FollowedStudy
from minipacs.jobs.record import Job

SERIES_KEYS = {
    "SeriesInstanceUID": match_uids(Series.series_instance_uid),
    "Modality": match_text(Series.modality),
    "SeriesNumber": match_numbers(Series.series_number),
    "SeriesDescription": match_text(Series.series_description),
    "SeriesDate": match_dates(Series.series_date),
    "BodyPartExamined": match_text(Series.body_part_examined),
    "ProtocolName": match_text(Series.protocol_name),
    "Manufacturer": match_text(Series.manufacturer),
}
"""The matching keys of PS3.18 table 10.6.1-5 at series level that the catalogue holds, and more."""


def answer_series(study_instance_uid: str | None) -> Response | None:
    """The answer to `GET …/series?…` of a study or of all, or None when only Orthanc can give it."""
    keys = SERIES_KEYS if study_instance_uid is not None else {**KEYS, **SERIES_KEYS}
    conditions = matching.parse_matching_keys(keys)
    if conditions is None:
        return None
    if study_instance_uid is not None:
        if not _is_catalogue_complete(study_instance_uid):
            return None
        conditions["StudyInstanceUID"] = Series.study_instance_uid == study_instance_uid
    limit, offset = matching.parse_limit_and_offset()

    with context().database.reading() as session:
        rows = session.execute(_select_series_in_order(conditions).limit(limit + 1).offset(offset)).all()
        found = [
            _series_to_dicom_json(series, *(() if study_instance_uid else (study, patient)))
            for series, study, patient in rows[:limit]
        ]

    if not found and "SeriesInstanceUID" in conditions:
        return None
    return dicom_json_response(found, has_more=len(rows) > limit == matching.MAX_RESULTS)


def _is_catalogue_complete(study_instance_uid: str) -> bool:
    """Whether the catalogue knows every series that the archive has at this moment of the studies with this UID."""
    with context().database.reading() as session:
        of_study = FollowedStudy.study_instance_uid == study_instance_uid
        followed = session.execute(select(FollowedStudy.study_id, FollowedStudy.due).where(of_study)).all()
        open_job = select(Job.id).where(
            Job.study_instance_uid == study_instance_uid,
            Job.kind == "catalogue",
            Job.state.in_(("queued", "running")),
        )
        is_waiting = session.scalar(open_job.limit(1)) is not None
        studies = lookup.find_studies(session, study_instance_uid)
        series_in_catalogue = {study.study_key: study.number_of_study_related_series for study in studies}

    is_due = any(due is not None for _study_id, due in followed)
    if not followed or is_due or is_waiting:
        return False
    try:
        return all(
            study_id in series_in_catalogue
            and context().archive.count_series(study_id) == series_in_catalogue[study_id]
            for study_id, _due in followed
        )
    except ArchiveError:
        return False


def _select_series_in_order(conditions: dict[str, Any]) -> Select[Series, Study, Patient]:
    """The newest study first; within it by number, those without one last."""
    newest = Study.study_date.desc().nulls_last(), Study.study_time.desc().nulls_last(), Study.study_instance_uid
    numbered = Series.series_number.nulls_last(), Series.series_date.nulls_last(), Series.series_time.nulls_last()
    statement = select(Series, Study, Patient).join(Study, Study.study_key == Series.study_key)
    statement = statement.join(Patient, Patient.patient_key == Study.patient_key).where(*conditions.values())
    return statement.order_by(*newest, *numbered, Series.series_instance_uid, Series.series_key)


def _series_to_dicom_json(series: Series, *above: Study | Patient) -> DicomJson:
    """A series with what table 10.6.3-4 wants; `above`: the levels that are part of the answer as well."""
    study, uid = series.study_instance_uid, series.series_instance_uid
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "InstanceAvailability": "ONLINE",
        "NumberOfSeriesRelatedInstances": series.number_of_series_related_instances,
        "RetrieveURL": f"{request.host_url}dicom-web/studies/{study}/series/{uid}",
    }
    return to_dicom_json(values, *above, series)
