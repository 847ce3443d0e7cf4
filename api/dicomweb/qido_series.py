"""The lists of series, answered from the catalogue: QIDO-RS at series level (PS3.18 10.6).

`/studies/{study}/series` is asked by a viewer that shows what there is *now*: the catalogue answers only
when it holds what the archive holds, which is when nothing of the study is waiting to be catalogued and
both count the same series. Else the answer is None, and Orthanc's.
"""

from typing import Any

from flask import Response, request
from sqlalchemy import Select, select

from api.context import context
from api.dicomweb.qido_studies import KEYS, MOST, as_dicom, asked_of, dates_of, listed, page, reply_of, text_of
from minipacs.catalogue import Patient, Series, Study
from minipacs.errors import ArchiveError
from minipacs.jobs.planner import FollowedStudy
from minipacs.jobs.record import Job

SERIES_KEYS = {
    "SeriesInstanceUID": lambda text: Series.series_instance_uid.in_(listed(text)),
    "Modality": text_of(Series.modality),
    "SeriesNumber": lambda text: Series.series_number.in_([int(n) for n in listed(text) if n.lstrip("-").isdigit()]),
    "SeriesDescription": text_of(Series.series_description),
    "SeriesDate": dates_of(Series.series_date),
    "BodyPartExamined": text_of(Series.body_part_examined),
    "ProtocolName": text_of(Series.protocol_name),
    "Manufacturer": text_of(Series.manufacturer),
}
"""The matching keys of PS3.18 table 10.6.1-5 at series level that the catalogue holds, and more."""


def answer(study_instance_uid: str | None) -> Response | None:
    """The answer to `GET …/series?…` of a study or of all, or None when only Orthanc can give it."""
    if study_instance_uid is None:
        matches = asked_of({**KEYS, **SERIES_KEYS})
    else:
        matches = asked_of(SERIES_KEYS)
        if matches is not None and not _holds_all(study_instance_uid):
            return None
    if matches is None:
        return None
    if study_instance_uid is not None:
        matches["StudyInstanceUID"] = Series.study_instance_uid == study_instance_uid
    most, offset = page()
    with context().database.reading() as session:
        rows = session.execute(_ordered(matches).limit(most + 1).offset(offset)).all()
        found = [
            _series(series, *(() if study_instance_uid else (study, patient))) for series, study, patient in rows[:most]
        ]
    if not found and "SeriesInstanceUID" in matches:
        return None
    return reply_of(found, more=len(rows) > most == MOST)


def _holds_all(study_instance_uid: str) -> bool:
    """Whether the catalogue knows every series of the study that the archive has at this moment."""
    with context().database.reading() as session:
        of_study = FollowedStudy.study_instance_uid == study_instance_uid
        followed = session.execute(select(FollowedStudy.study_id, FollowedStudy.due).where(of_study)).first()
        waiting = Job.state.in_(("queued", "running")), Job.kind == "catalogue"
        busy = session.scalar(select(Job.id).where(Job.study_instance_uid == study_instance_uid, *waiting).limit(1))
        study = session.get(Study, study_instance_uid)
        counted = study.number_of_study_related_series if study else None
    if followed is None or followed.due is not None or busy is not None or counted is None:
        return False
    try:
        return context().archive.number_of_series(followed.study_id) == counted
    except ArchiveError:
        return False


def _ordered(matches: dict[str, Any]) -> Select[Series, Study, Patient]:
    """The newest study first; within it by number, those without one last."""
    newest = Study.study_date.desc().nulls_last(), Study.study_time.desc().nulls_last(), Study.study_instance_uid
    numbered = Series.series_number.nulls_last(), Series.series_date.nulls_last(), Series.series_time.nulls_last()
    statement = select(Series, Study, Patient).join(Study, Study.study_instance_uid == Series.study_instance_uid)
    statement = statement.join(Patient, Patient.patient_key == Study.patient_key).where(*matches.values())
    return statement.order_by(*newest, *numbered, Series.series_instance_uid)


def _series(series: Series, *above: Study | Patient) -> dict[str, Any]:
    """A series in the DICOM JSON model with what table 10.6.3-4 wants; `above`: the levels asked for as well."""
    study, uid = series.study_instance_uid, series.series_instance_uid
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "InstanceAvailability": "ONLINE",
        "NumberOfSeriesRelatedInstances": series.number_of_series_related_instances,
        "RetrieveURL": f"{request.host_url}dicom-web/studies/{study}/series/{uid}",
    }
    return as_dicom(values, *above, series)
