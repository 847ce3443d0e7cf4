"""Look-ups by key, as JSON: what scripts ask thousands of times a second. None when there is no such thing.

The views and the fast lane (`api.lane`) both answer from here; `api.quick` reads the rows.
"""

from typing import Any

from api.quick import Reader
from minipacs.catalogue import Counts, Instance, Patient, Rendering, Segment, Series, Study

Found = dict[str, Any] | None


def totals(quick: Reader, level: str) -> Found:
    """`{"patient_count"}` and so on: how many there are in the catalogue."""
    count = quick.totals()
    return {
        "patients": {"patient_count": count.patients},
        "studies": {"study_count": count.studies},
        "series": {"series_count": count.series},
        "images": {"images_count": count.images},
    }[level]


def patient(quick: Reader, patient_id: str) -> Found:
    """A patient, by PatientID."""
    return quick.row(Patient, patient_id) if "\x00" not in patient_id else None


def counted(quick: Reader, patient_id: str) -> Counts | None:
    """A patient's counts."""
    row = patient(quick, patient_id)
    if row is None:
        return None
    return Counts(1, *(row[f"NumberOfPatientRelated{what}"] for what in ("Studies", "Series", "Instances")))


def study_count(quick: Reader, patient_id: str) -> Found:
    """How many studies a patient has."""
    count = counted(quick, patient_id)
    return None if count is None else {"patient_id": patient_id, "study_count": count.studies}


def series_count(quick: Reader, patient_id: str) -> Found:
    """How many series a patient has."""
    count = counted(quick, patient_id)
    return None if count is None else {"patient_id": patient_id, "series_count": count.series}


def image_count(quick: Reader, patient_id: str) -> Found:
    """How many instances a patient has."""
    count = counted(quick, patient_id)
    return None if count is None else {"patient_id": patient_id, "images_count": count.images}


def counts(quick: Reader, patient_id: str) -> Found:
    """All three counts of a patient."""
    count = counted(quick, patient_id)
    if count is None:
        return None
    return {
        "patient_id": patient_id,
        "study_count": count.studies,
        "series_count": count.series,
        "image_count": count.images,
    }


def series(quick: Reader, series_instance_uid: str) -> Found:
    """A series, with its patient."""
    row = quick.row(Series, series_instance_uid) if "\x00" not in series_instance_uid else None
    if row is None:
        return None
    study = quick.row(Study, row["StudyInstanceUID"]) or {}
    return {**row, "patient_key": study.get("patient_key")}


def image(quick: Reader, sop_instance_uid: str) -> Found:
    """An instance, with its pictures or its segments."""
    row = quick.row(Instance, sop_instance_uid) if "\x00" not in sop_instance_uid else None
    if row is None:
        return None
    return {
        **row,
        "renderings": quick.rows(Rendering, Rendering.sop_instance_uid, sop_instance_uid, Rendering.frame_number),
        "segments": quick.rows(Segment, Segment.sop_instance_uid, sop_instance_uid, Segment.segment_number),
    }
