"""The keys of the catalogue's rows: Orthanc's identifiers; of a patient, the Patient ID."""

from dataclasses import dataclass

from minipacs.archive.identifiers import compute_instance_key, compute_series_key, compute_study_key

__all__ = ["ObjectKeys", "compute_object_keys", "patient_key"]


@dataclass(frozen=True)
class ObjectKeys:
    """The keys of the three rows that an object has."""

    study: str
    series: str
    instance: str


def compute_object_keys(patient_id: str, study_uid: str, series_uid: str, sop_uid: str) -> ObjectKeys:
    """The identifiers that Orthanc would give an object with these values."""
    return ObjectKeys(
        study=compute_study_key(patient_id, study_uid),
        series=compute_series_key(patient_id, study_uid, series_uid),
        instance=compute_instance_key(patient_id, study_uid, series_uid, sop_uid),
    )


def patient_key(patient_id: str | None, study_instance_uid: str) -> str:
    """The key of the patient an object belongs to: its PatientID, or `study:` + its study when it has none."""
    return patient_id.strip() if patient_id and patient_id.strip() else f"study:{study_instance_uid}"
