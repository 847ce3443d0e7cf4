"""Look-ups by key, as JSON: what scripts ask thousands of times a second. None when there is no such thing.

The views and the fast lane (`api.fastpath.lane`) both answer from here; `api.catalogue.row_reader` reads the rows.
"""

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from api.results import files
from minipacs.archive.content import MANUFACTURER
from minipacs.catalogue import Counts, Instance, Patient, Rendering, Segment, Series, Study
from minipacs.formats.sop_classes import SEGMENTATIONS

if TYPE_CHECKING:
    from api.context import AppContext

Found = dict[str, Any] | None


def totals(context: "AppContext", level: str) -> Found:
    """`{"patient_count"}` and so on: how many there are in the catalogue."""
    count = context.quick.totals()
    return {
        "patients": {"patient_count": count.patients},
        "studies": {"study_count": count.studies},
        "series": {"series_count": count.series},
        "images": {"images_count": count.images},
    }[level]


def patient(context: "AppContext", patient_id: str) -> Found:
    """A patient, by PatientID."""
    return context.quick.row(Patient, patient_id) if "\x00" not in patient_id else None


def counted(context: "AppContext", patient_id: str) -> Counts | None:
    """A patient's counts."""
    row = patient(context, patient_id)
    if row is None:
        return None
    return Counts(1, *(row[f"NumberOfPatientRelated{what}"] for what in ("Studies", "Series", "Instances")))


def study_count(context: "AppContext", patient_id: str) -> Found:
    """How many studies a patient has."""
    count = counted(context, patient_id)
    return None if count is None else {"patient_id": patient_id, "study_count": count.studies}


def series_count(context: "AppContext", patient_id: str) -> Found:
    """How many series a patient has."""
    count = counted(context, patient_id)
    return None if count is None else {"patient_id": patient_id, "series_count": count.series}


def image_count(context: "AppContext", patient_id: str) -> Found:
    """How many instances a patient has."""
    count = counted(context, patient_id)
    return None if count is None else {"patient_id": patient_id, "images_count": count.images}


def counts(context: "AppContext", patient_id: str) -> Found:
    """All three counts of a patient."""
    count = counted(context, patient_id)
    if count is None:
        return None
    return {
        "patient_id": patient_id,
        "study_count": count.studies,
        "series_count": count.series,
        "image_count": count.images,
    }


SERIES = (
    select(Series, Study.patient_key)
    .join(Study, Study.study_instance_uid == Series.study_instance_uid)
    .where(Series.series_instance_uid == bindparam("value"))
)
STUDY = (
    select(Study, Patient, Series)
    .join(Patient, Patient.patient_key == Study.patient_key)
    .outerjoin(Series, Series.study_instance_uid == Study.study_instance_uid)
    .where(Study.study_instance_uid == bindparam("value"))
    .order_by(Series.series_number, Series.series_instance_uid)
)
IMAGE = (
    select(Instance, Rendering)
    .outerjoin(Rendering, Rendering.sop_instance_uid == Instance.sop_instance_uid)
    .where(Instance.sop_instance_uid == bindparam("value"))
    .order_by(Rendering.frame_number, Rendering.window_number)
)


def series(context: "AppContext", series_instance_uid: str) -> Found:
    """A series, with its patient."""
    return context.quick.first(SERIES, series_instance_uid) if "\x00" not in series_instance_uid else None


def study(context: "AppContext", study_instance_uid: str) -> Found:
    """A study with its patient, its series and the results made of it."""
    rows = context.quick.together(STUDY, study_instance_uid) if "\x00" not in study_instance_uid else []
    if not rows:
        return None
    return {
        **(rows[0][0] or {}),
        "patient": rows[0][1],
        "series": [{**one, "ours": one["Manufacturer"] == MANUFACTURER} for *_, one in rows if one],
        "results": files.read_results(context.settings, study_instance_uid),
    }


def image(context: "AppContext", sop_instance_uid: str) -> Found:
    """An instance, with its pictures or its segments."""
    rows = context.quick.together(IMAGE, sop_instance_uid) if "\x00" not in sop_instance_uid else []
    if not rows or (row := rows[0][0]) is None:
        return None
    parts: list[dict[str, Any]] = []
    if row["SOPClassUID"] in (*SEGMENTATIONS, None):  # None: the object did not say
        parts = context.quick.rows(Segment, Segment.sop_instance_uid, sop_instance_uid, Segment.segment_number)
    return {**row, "renderings": [picture for _, picture in rows if picture], "segments": parts}


PICTURE = (
    select(Rendering, Instance.instance_number, Patient.patient_id, Series.series_description,
           Study.study_description, Series.modality, Series.series_instance_uid, Study.study_instance_uid)
    .join(Instance, Instance.sop_instance_uid == Rendering.sop_instance_uid)
    .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
    .join(Study, Study.study_instance_uid == Series.study_instance_uid)
    .join(Patient, Patient.patient_key == Study.patient_key)
)  # fmt: skip
BY_NAME = PICTURE.where(Rendering.rendering_id == bindparam("value"))
BY_INSTANCE = PICTURE.where(Rendering.sop_instance_uid == bindparam("value")).order_by(Rendering.frame_number)


def picture(context: "AppContext", filename: str) -> Found:
    """What a PNG shows, by its name with or without folder and extension; or by SOP Instance UID."""
    name = filename.rpartition("/")[2].removesuffix(".png")
    if not name or "\x00" in name:
        return None
    return context.quick.first(BY_NAME, name) or context.quick.first(BY_INSTANCE, name)
