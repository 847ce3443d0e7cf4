"""The keys of the catalogue's rows."""

__all__ = ["patient_key"]


def patient_key(patient_id: str | None, study_instance_uid: str) -> str:
    """The key of the patient an object belongs to: its PatientID, or `study:` + its study when it has none."""
    return patient_id.strip() if patient_id and patient_id.strip() else f"study:{study_instance_uid}"
