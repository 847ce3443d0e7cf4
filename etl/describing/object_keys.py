"""The keys of an object's rows: what the archive calls it, or would call it."""

from pydicom import Dataset
from pydicom.multival import MultiValue

from etl.describing.object_rows import ObjectRows
from etl.records import SourceItem
from minipacs.catalogue import ARCHIVE_PREFIX, ObjectKeys, compute_object_keys

__all__ = ["find_object_keys"]


def find_object_keys(item: SourceItem, dataset: Dataset, rows: ObjectRows) -> ObjectKeys:
    """The keys of an archived instance, as the archive says them; of a file, as Orthanc would make them.

    What the archive has not said of an archived instance is made as for a file.
    """
    is_archived = item.source.startswith(ARCHIVE_PREFIX)
    if is_archived and item.study_key and item.series_key:
        return ObjectKeys(item.study_key, item.series_key, item.source.removeprefix(ARCHIVE_PREFIX))

    made = compute_object_keys(
        _read_patient_id(dataset),
        rows.study["study_instance_uid"],
        rows.series["series_instance_uid"],
        rows.instance["sop_instance_uid"],
    )
    if not is_archived:
        return made
    return ObjectKeys(
        item.study_key or made.study, item.series_key or made.series, item.source.removeprefix(ARCHIVE_PREFIX)
    )


def _read_patient_id(dataset: Dataset) -> str:
    """The Patient ID as it is written, leading spaces too: they make another identifier; empty when it has none."""
    try:
        value = dataset.get("PatientID")
    except Exception:  # pydicom's many ways of finding a value broken (minipacs/formats/parsing.py)
        return ""
    parts = value if isinstance(value, MultiValue) else [value]
    return "\\".join(str(part) for part in parts if part is not None)
