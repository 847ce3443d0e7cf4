"""Look-ups by key, as JSON: what scripts ask thousands of times a second. None when there is no such thing.

Each is one SELECT by a key, without the ORM and without a transaction.
"""

from typing import TYPE_CHECKING, Any

from sqlalchemy import BindParameter, Select, bindparam, select

from api.results import files
from api.web.row_json import HIDDEN, JsonRow, json_key, to_json_value
from minipacs.archive.content import MANUFACTURER
from minipacs.catalogue import Instance, Patient, Rendering, RowCount, Segment, Series, Study
from minipacs.catalogue.lookup import MEANT_FIRST, select_instance_key, select_study_key
from minipacs.database import Database
from minipacs.formats.sop_classes import SEGMENTATIONS

if TYPE_CHECKING:
    from api.context import AppContext

Found = JsonRow | None


class Lookup:
    """A SELECT whose rows become JSON. It takes one value, `VALUE`, and selects entities or columns of them."""

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        columns = [column for column in statement.selected_columns if column.key not in HIDDEN]
        tables = [column.table for column in columns]

        self._statement = statement.with_only_columns(*columns)
        self._names = [json_key(column) for column in columns]
        self._places = [[i for i, table in enumerate(tables) if table is entity] for entity in dict.fromkeys(tables)]
        """The places of each entity's columns within a row."""

    def find_first(self, database: Database, value: str) -> JsonRow | None:
        """The first row, all its columns in one object."""
        for row in database.look_up(self._statement, value=value):
            return {name: to_json_value(cell) for name, cell in zip(self._names, row, strict=True)}
        return None

    def find_entities(self, database: Database, value: str) -> list[list[JsonRow | None]]:
        """The rows, one object for each entity; None where an outer join found none (its key is NULL)."""
        return [
            [
                {self._names[i]: to_json_value(row[i]) for i in places} if row[places[0]] is not None else None
                for places in self._places
            ]
            for row in database.look_up(self._statement, value=value)
        ]


VALUE: BindParameter[str] = bindparam("value")
TOTALS = select(RowCount.name, RowCount.number)

PATIENT = Lookup(select(Patient).where(Patient.patient_key == VALUE))

STUDY = Lookup(
    select(Study, Patient, Series)
    .join(Patient, Patient.patient_key == Study.patient_key)
    .outerjoin(Series, Series.study_key == Study.study_key)
    .where(Study.study_key == select_study_key(VALUE))
    .order_by(Series.series_number, Series.series_instance_uid)
)

SERIES = Lookup(
    select(Series, Study.patient_key)
    .join(Study, Study.study_key == Series.study_key)
    .where(Series.series_instance_uid == VALUE)
    .order_by(*MEANT_FIRST, Series.series_key)
)

INSTANCE = Lookup(
    select(Instance, Rendering)
    .outerjoin(Rendering, Rendering.instance_key == Instance.instance_key)
    .where(Instance.instance_key == select_instance_key(VALUE))
    .order_by(Rendering.frame_number, Rendering.window_number)
)

SEGMENTS = Lookup(
    select(Segment).where(Segment.instance_key == select_instance_key(VALUE)).order_by(Segment.segment_number)
)

RENDERING = (
    select(
        Rendering,
        Instance.instance_number,
        Patient.patient_id,
        Series.series_description,
        Study.study_description,
        Series.modality,
        Series.series_instance_uid,
        Study.study_instance_uid,
    )
    .join(Instance, Instance.instance_key == Rendering.instance_key)
    .join(Series, Series.series_key == Instance.series_key)
    .join(Study, Study.study_key == Series.study_key)
    .join(Patient, Patient.patient_key == Study.patient_key)
)
RENDERING_BY_ID = Lookup(RENDERING.where(Rendering.rendering_id == VALUE))
RENDERING_BY_INSTANCE = Lookup(
    RENDERING.where(Rendering.instance_key == select_instance_key(VALUE)).order_by(Rendering.frame_number)
)


def find_total(context: "AppContext", level: str) -> Found:
    """`{"patient_count"}` and so on: how many there are in the catalogue."""
    table, name = {
        "patients": ("patient", "patient_count"),
        "studies": ("study", "study_count"),
        "series": ("series", "series_count"),
        "images": ("instance", "images_count"),
    }[level]
    numbers = {row.name: row.number for row in context.database.look_up(TOTALS)}
    return {name: numbers.get(table, 0)}


def find_patient(context: "AppContext", patient_id: str) -> Found:
    """A patient, by PatientID."""
    return PATIENT.find_first(context.database, patient_id)


def find_study_count(context: "AppContext", patient_id: str) -> Found:
    """How many studies a patient has."""
    return _find_counts(context, patient_id, study_count="NumberOfPatientRelatedStudies")


def find_series_count(context: "AppContext", patient_id: str) -> Found:
    """How many series a patient has."""
    return _find_counts(context, patient_id, series_count="NumberOfPatientRelatedSeries")


def find_instance_count(context: "AppContext", patient_id: str) -> Found:
    """How many instances a patient has."""
    return _find_counts(context, patient_id, images_count="NumberOfPatientRelatedInstances")


def find_all_counts(context: "AppContext", patient_id: str) -> Found:
    """All three counts of a patient."""
    return _find_counts(
        context,
        patient_id,
        study_count="NumberOfPatientRelatedStudies",
        series_count="NumberOfPatientRelatedSeries",
        image_count="NumberOfPatientRelatedInstances",
    )


def _find_counts(context: "AppContext", patient_id: str, **keywords: str) -> Found:
    """The patient's row has all three: name → keyword chooses among them."""
    row = find_patient(context, patient_id)
    if row is None:
        return None
    return {"patient_id": patient_id, **{name: row[keyword] for name, keyword in keywords.items()}}


def find_study(context: "AppContext", study_instance_uid: str) -> Found:
    """A study with its patient, its series and the results made of it."""
    rows = STUDY.find_entities(context.database, study_instance_uid)
    if not rows:
        return None
    study, patient, _ = rows[0]
    return {
        **(study or {}),
        "patient": patient,
        "series": [{**series, "ours": series["Manufacturer"] == MANUFACTURER} for *_, series in rows if series],
        "results": files.read_results(context, study_instance_uid),
    }


def find_series(context: "AppContext", series_instance_uid: str) -> Found:
    """A series, with its patient."""
    return SERIES.find_first(context.database, series_instance_uid)


def find_instance(context: "AppContext", sop_instance_uid: str) -> Found:
    """An instance, with its renderings or its segments."""
    rows = INSTANCE.find_entities(context.database, sop_instance_uid)
    if not rows or (instance := rows[0][0]) is None:
        return None

    segments: list[list[JsonRow | None]] = []
    if instance["SOPClassUID"] in (*SEGMENTATIONS, None):  # None: the object did not say
        segments = SEGMENTS.find_entities(context.database, sop_instance_uid)
    return {
        **instance,
        "renderings": [rendering for _, rendering in rows if rendering],
        "segments": [segment for (segment,) in segments],
    }


def find_picture(context: "AppContext", filename: str) -> Found:
    """What a PNG shows, by its name with or without folder and extension; or by SOP Instance UID."""
    name = filename.rpartition("/")[2].removesuffix(".png")
    if not name:
        return None
    by_id = RENDERING_BY_ID.find_first(context.database, name)
    return by_id or RENDERING_BY_INSTANCE.find_first(context.database, name)
