"""The study list, answered from the catalogue: QIDO-RS at study level (PS3.18 10.6), newest first.

Orthanc 1.10.1 answers in the order of its own identifiers, OHIF asks for 101 studies and sorts those: new
studies can be missing. A study is listed here once it is catalogued, which is when it has become stable.
Questions that this cannot answer (`answer` is None) are Orthanc's: other matching keys, XML, a study by its
UID that is not catalogued yet, and instances. Series are `api.dicomweb.qido_series`.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, time
from typing import Any

from flask import Response, request
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.context import context
from api.web.paging import parse_date, parse_integer
from minipacs.catalogue import Patient, Series, Study
from minipacs.errors import BadRequest

MOST = 1000
CONTROLS = frozenset(["limit", "offset", "fuzzymatching", "includefield", "orderby"])
"""Parameters that are no matching keys; OHIF sends them all."""
JSON_TYPES = ("application/dicom+json", "application/json")
NOT_FUZZY = '299 minipacs "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
MORE = '299 minipacs "There are more results; ask with offset."'
"""Warnings worded by PS3.18 8.3.4.2 and 8.3.4.4."""
ABSENT_WHEN_EMPTY = frozenset(["ModalitiesInStudy"])
"""An empty one ends OHIF's whole study list."""
Match = Callable[[str], ColumnElement[bool]]


def answer() -> Response | None:
    """The answer to `GET /dicom-web/studies?…`, or None when only Orthanc can give it."""
    matches = asked_of(KEYS)
    if matches is None:
        return None
    most, offset = page()
    with context().database.reading() as session:
        rows = session.execute(_newest_first(matches).limit(most + 1).offset(offset)).all()
        found = _described(session, [(study, patient) for study, patient in rows[:most]])
    if not found and "StudyInstanceUID" in matches:
        return None
    return reply_of(found, more=len(rows) > most == MOST)


def page() -> tuple[int, int]:
    """`limit`, at most `MOST`, and `offset`."""
    return min(_number("limit", MOST), MOST), _number("offset", 0)


def reply_of(found: list[dict[str, Any]], *, more: bool) -> Response:
    """The DICOM JSON answer, with the warnings that PS3.18 words."""
    reply = Response(json.dumps(found, separators=(",", ":"), ensure_ascii=False), mimetype="application/dicom+json")
    if request.args.get("fuzzymatching") == "true":
        reply.headers.add("Warning", NOT_FUZZY)
    if more:
        reply.headers.add("Warning", MORE)
    return reply


def asked_of(keys: dict[str, Match]) -> dict[str, ColumnElement[bool]] | None:
    """The conditions asked, by keyword; None when a key is none of these, or the answer is not to be JSON.

    No value matches all (PS3.4 C.2.2.2.3).
    """
    wanted = request.accept_mimetypes
    if wanted and not any(wanted.quality(kind) for kind in JSON_TYPES):
        return None
    matches: dict[str, ColumnElement[bool]] = {}
    for name, text in request.args.items(multi=True):
        keyword = _keyword(name)
        if name in CONTROLS or not text.strip("*"):
            continue
        if keyword not in keys:
            return None
        if "\0" in text:
            raise BadRequest(f"{keyword} has a NUL character.", "Leave it out.")
        condition = keys[keyword](text)
        matches[keyword] = and_(matches[keyword], condition) if keyword in matches else condition
    return matches


def _keyword(name: str) -> str:
    """`PatientID` for `PatientID` and for `00100020` (PS3.18 8.3.4.1)."""
    try:
        return keyword_for_tag(int(name, 16)) if len(name) == 8 else name
    except ValueError:
        return name


def _newest_first(matches: dict[str, ColumnElement[bool]]) -> Select[Study, Patient]:
    order = Study.study_date.desc().nulls_last(), Study.study_time.desc().nulls_last(), Study.study_instance_uid
    statement = select(Study, Patient).join(Patient, Patient.patient_key == Study.patient_key)
    return statement.where(*matches.values()).order_by(*order)


def text_of(column: InstrumentedAttribute[Any]) -> Match:
    """Wildcards `*` and `?` (PS3.4 C.2.2.2.4); the case of ASCII letters does not count (as PS3.4 allows for PN)."""

    def match(text: str) -> ColumnElement[bool]:
        for plain, escaped in (("\\", "\\\\"), ("%", "\\%"), ("_", "\\_"), ("*", "%"), ("?", "_")):
            text = text.replace(plain, escaped)
        return column.ilike(text, escape="\\")

    return match


def dates_of(column: InstrumentedAttribute[Any]) -> Match:
    """A day or a range, open at either end: 20240101, 20240101-20240131, 20240101-, -20240131 (C.2.2.2.5)."""

    def match(text: str) -> ColumnElement[bool]:
        first, between, last = text.strip().partition("-")
        if not between:
            return column == parse_date(first)
        ends = [column >= parse_date(first)] if first else []
        ends += [column <= parse_date(last)] if last else []
        return and_(column.is_not(None), *ends)

    return match


def listed(text: str) -> list[str]:
    """Several values: by backslash as in DICOM, or by comma as PS3.18 8.3.4.1 writes lists of UIDs."""
    return [value.strip() for value in text.replace("\\", ",").split(",") if value.strip()]


def _modalities(text: str) -> ColumnElement[bool]:
    """Studies with a series of one of these modalities."""
    has = select(Series.series_instance_uid).where(Series.study_instance_uid == Study.study_instance_uid)
    return has.where(or_(*(text_of(Series.modality)(value) for value in listed(text)))).exists()


KEYS: dict[str, Match] = {
    "StudyInstanceUID": lambda text: Study.study_instance_uid.in_(listed(text)),
    "StudyDate": dates_of(Study.study_date),
    "ModalitiesInStudy": _modalities,
    "PatientBirthDate": dates_of(Patient.patient_birth_date),
    "PatientSex": text_of(Patient.patient_sex),
    "PatientName": text_of(Patient.patient_name),
    "PatientID": text_of(Patient.patient_id),
    "StudyID": text_of(Study.study_id),
    "StudyDescription": text_of(Study.study_description),
    "AccessionNumber": text_of(Study.accession_number),
    "ReferringPhysicianName": text_of(Study.referring_physician_name),
}
"""The matching keys of PS3.18 table 10.6.1-5 that the catalogue holds, and OHIF's others."""


def _number(name: str, absent: int) -> int:
    number = parse_integer(request.args[name]) if request.args.get(name) else absent
    if number < 0:
        raise BadRequest(f"{name} must not be negative.", "Send 0 or more.")
    return number


def _described(session: Session, rows: list[tuple[Study, Patient]]) -> list[dict[str, Any]]:
    """Each study in the DICOM JSON model (PS3.18 F.2) with what table 10.6.3-3 wants of it."""
    uids = [study.study_instance_uid for study, _ in rows]
    modalities: dict[str, list[str]] = defaultdict(list)
    asked = select(Series.study_instance_uid, Series.modality).where(Series.study_instance_uid.in_(uids)).distinct()
    for uid, modality in session.execute(asked.order_by(Series.modality)):
        if modality:
            modalities[uid].append(modality)
    return [_study(study, patient, modalities[study.study_instance_uid]) for study, patient in rows]


def _study(study: Study, patient: Patient, modalities: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "InstanceAvailability": "ONLINE",
        "ModalitiesInStudy": modalities,
        "RetrieveURL": f"{request.host_url}dicom-web/studies/{study.study_instance_uid}",
        "NumberOfStudyRelatedSeries": study.number_of_study_related_series,
        "NumberOfStudyRelatedInstances": study.number_of_study_related_instances,
    }
    return as_dicom(values, study, patient)


def as_dicom(values: dict[str, Any], *rows: Study | Patient | Series) -> dict[str, Any]:
    """Values by keyword, and the rows' own, in the DICOM JSON model, by tag (PS3.18 F.2)."""
    for row in rows:
        values.update({key.info["keyword"]: getattr(row, key.key) for key in _elements(type(row))})
    tagged = sorted((f"{tag_for_keyword(keyword):08X}", keyword) for keyword in values)
    shown = [(tag, keyword) for tag, keyword in tagged if values[keyword] or keyword not in ABSENT_WHEN_EMPTY]
    return {tag: _attribute(keyword, values[keyword]) for tag, keyword in shown}


def _elements(table: type[Study] | type[Patient] | type[Series]) -> Iterable[Any]:
    return (column for column in table.__table__.columns if "keyword" in column.info)


def _attribute(keyword: str, value: Any) -> dict[str, Any]:
    tag = tag_for_keyword(keyword)
    vr = dictionary_VR(tag) if tag is not None else "UN"
    several = value if isinstance(value, list) else [value]
    given = [_value(vr, one) for one in several if one not in (None, "")]
    return {"vr": vr, "Value": given} if given else {"vr": vr}


def _value(vr: str, value: Any) -> Any:
    if vr == "PN":  # PS3.18 F.2.2: by component group
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), str(value).split("="), strict=False)
        return {group: name for group, name in groups if name}
    if isinstance(value, date):
        return value.strftime("%Y%m%d")
    if isinstance(value, time):
        return value.strftime("%H%M%S.%f" if value.microsecond else "%H%M%S")
    return value
