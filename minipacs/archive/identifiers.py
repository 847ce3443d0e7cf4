"""The identifiers by which Orthanc names patients, studies, series and instances.

One is the SHA-1 of PatientID and UIDs, joined by `|`, in five groups of eight hexadecimal digits: 44 characters. What
the archive holds is named as the archive says. What it does not hold, as a file of a folder, is named by these
functions as the archive would name it.
"""

from hashlib import sha1

PADDING = " \0"
"""What may follow a value (PS3.5 6.2). Orthanc leaves it out; blanks before a PatientID belong to the identifier."""


def compute_archive_patient_id(patient_id: str) -> str:
    """Orthanc's identifier of a patient; `patient_id` is empty where the object has none."""
    return _compute_identifier(patient_id)


def compute_study_key(patient_id: str, study_instance_uid: str) -> str:
    """Orthanc's identifier of a study."""
    return _compute_identifier(patient_id, study_instance_uid)


def compute_series_key(patient_id: str, study_instance_uid: str, series_instance_uid: str) -> str:
    """Orthanc's identifier of a series."""
    return _compute_identifier(patient_id, study_instance_uid, series_instance_uid)


def compute_instance_key(
    patient_id: str, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str
) -> str:
    """Orthanc's identifier of an instance."""
    return _compute_identifier(patient_id, study_instance_uid, series_instance_uid, sop_instance_uid)


def _compute_identifier(*values: str) -> str:
    text = "|".join(value.rstrip(PADDING) for value in values)
    digits = sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, len(digits), 8))
