"""Rows of the catalogue in the DICOM JSON model (PS3.18 F.2)."""

import json
from collections.abc import Iterable
from datetime import date, time
from typing import Any

from flask import Response, request
from pydicom.datadict import dictionary_VR, tag_for_keyword

from api.web.disclosed import note_rows
from minipacs.catalogue import Patient, Series, Study

NOT_FUZZY = '299 minipacs "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
MORE_RESULTS = '299 minipacs "There are more results; ask with offset."'
"""Warnings worded by PS3.18 8.3.4.2 and 8.3.4.4."""
ABSENT_WHEN_EMPTY = frozenset(["ModalitiesInStudy"])
"""An empty one ends OHIF's whole study list."""
DicomJson = dict[str, dict[str, Any]]
"""Attributes by tag."""


def dicom_json_response(datasets: list[DicomJson], *, has_more: bool) -> Response:
    """A response in the DICOM JSON model, with the warnings that PS3.18 words."""
    body = json.dumps(datasets, separators=(",", ":"), ensure_ascii=False)
    response = Response(body, mimetype="application/dicom+json")
    if request.args.get("fuzzymatching") == "true":
        response.headers.add("Warning", NOT_FUZZY)
    if has_more:
        response.headers.add("Warning", MORE_RESULTS)
    return response


def to_dicom_json(values: dict[str, Any], *rows: Study | Patient | Series) -> DicomJson:
    """Values by keyword, and the rows' own, in the DICOM JSON model, by tag (PS3.18 F.2)."""
    note_rows([row for row in rows if not isinstance(row, Patient)][:1])
    for row in rows:
        values.update({key.info["keyword"]: getattr(row, key.key) for key in _dicom_columns(type(row))})
    tagged = sorted((f"{tag_for_keyword(keyword):08X}", keyword) for keyword in values)
    shown = [(tag, keyword) for tag, keyword in tagged if values[keyword] or keyword not in ABSENT_WHEN_EMPTY]
    return {tag: _attribute_to_dicom_json(keyword, values[keyword]) for tag, keyword in shown}


def _dicom_columns(table: type[Study] | type[Patient] | type[Series]) -> Iterable[Any]:
    return (column for column in table.__table__.columns if "keyword" in column.info)


def _attribute_to_dicom_json(keyword: str, value: Any) -> dict[str, Any]:
    tag = tag_for_keyword(keyword)
    vr = dictionary_VR(tag) if tag is not None else "UN"
    values = value if isinstance(value, list) else [value]
    present = [_value_to_dicom_json(vr, one) for one in values if one not in (None, "")]
    return {"vr": vr, "Value": present} if present else {"vr": vr}


def _value_to_dicom_json(vr: str, value: Any) -> Any:
    if vr == "PN":  # PS3.18 F.2.2: by component group
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), str(value).split("="), strict=False)
        return {group: name for group, name in groups if name}
    if isinstance(value, date):
        return value.strftime("%Y%m%d")
    if isinstance(value, time):
        return value.strftime("%H%M%S.%f" if value.microsecond else "%H%M%S")
    return value
