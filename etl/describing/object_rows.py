"""The rows of patient, study, series and instance that a DICOM object makes."""

from dataclasses import dataclass

from pydicom import Dataset

from etl.describing.dicom_scan import CHARACTER_SET, DicomObject, RawValues
from etl.describing.element_values import Column, list_element_columns, read_row
from etl.records import RejectionReason, Row
from minipacs.catalogue import Instance, Patient, Series, Study, patient_key
from minipacs.formats.uids import is_uid
from minipacs.tables import Base

__all__ = ["TABLE_COLUMNS", "ObjectRows", "describe_object"]

TABLE_COLUMNS: dict[type[Base], list[Column]] = {
    table: list_element_columns(table) for table in (Patient, Study, Series, Instance)
}
"""The columns that hold data elements, by table."""


@dataclass(frozen=True)
class ObjectRows:
    """An object as rows; `series` lacks its study and `instance` its series: the loader knows them."""

    patient: Row
    study: Row
    series: Row
    instance: Row

    remarks: list[str]
    """What is wrong with the object though it can be catalogued, in sentences; never a value of its elements."""


def describe_object(dicom: DicomObject) -> ObjectRows | RejectionReason:
    """The rows of an object; the reason why it has none when one of its three UIDs is missing or not valid."""
    dataset, raw = dicom
    patient, patient_remarks = _read_shared_row(dataset, Patient, raw)
    study, study_remarks = _read_shared_row(dataset, Study, raw)
    series, series_remarks = _read_shared_row(dataset, Series, raw)
    instance, instance_remarks = read_row(dataset, TABLE_COLUMNS[Instance], raw)

    missing = [name for name, uid in _read_uids(study, series, instance).items() if not uid]
    if missing:
        rule = "a Type 1 element must have a value (PS3.5 7.4.1)"
        reason = f"{' and '.join(missing)} missing or empty: {rule}."
        return RejectionReason("no_uid", reason, "Send it with UIDs.", _read_valid_uid(instance))

    wrong = [name for name, uid in _read_uids(study, series, instance).items() if not is_uid(uid)]
    if wrong:
        rule = "a UID has digits and dots, at most 64 characters (PS3.5 9.1)"
        reason = f"{' and '.join(wrong)} not valid: {rule}."
        return RejectionReason("bad_uid", reason, "Correct its UIDs and send it again.", _read_valid_uid(instance))

    remarks = [*patient_remarks, *study_remarks, *series_remarks, *instance_remarks]
    key = patient_key(patient["patient_id"], study["study_instance_uid"])
    if key != patient["patient_id"]:
        remarks.append("No Patient ID: not merged with others; the study stands for the patient, in the split too.")

    return ObjectRows(
        patient={**patient, "patient_key": key},
        study={**study, "patient_key": key},
        series=series,
        instance={**instance, "transfer_syntax_uid": _read_transfer_syntax(dataset)},
        remarks=remarks,
    )


def _read_uids(study: Row, series: Row, instance: Row) -> dict[str, str]:
    """The three UIDs that every object must have, by name; empty when one is absent."""
    return {
        "SOP Instance UID": instance["sop_instance_uid"] or "",
        "Series Instance UID": series["series_instance_uid"] or "",
        "Study Instance UID": study["study_instance_uid"] or "",
    }


def _read_valid_uid(instance: Row) -> str | None:
    """The SOP Instance UID, if it is a UID."""
    uid = instance["sop_instance_uid"] or ""
    return uid if is_uid(uid) else None


def _read_transfer_syntax(dataset: Dataset) -> str | None:
    """The Transfer Syntax UID of the file meta information; None without one."""
    meta = getattr(dataset, "file_meta", None)
    if not meta:
        return None
    return str(meta.get("TransferSyntaxUID") or "") or None


@dataclass(frozen=True)
class _CachedRow:
    """The last row of a table, and the raw values that it was read from."""

    raw_values: tuple[bytes | None, ...]
    row: Row
    remarks: list[str]


_last_rows: dict[type[Base], _CachedRow] = {}
"""By table. The next object mostly belongs to the same patient, study and series."""


def _read_shared_row(dataset: Dataset, table: type[Base], raw: RawValues | None) -> tuple[Row, list[str]]:
    """The row of patient, study or series, and its remarks; read anew only when the object differs from the last."""
    columns = TABLE_COLUMNS[table]
    if raw is None:
        return read_row(dataset, columns, None)

    raw_values = (raw.get(CHARACTER_SET), *(raw.get(column.tag) for column in columns))
    cached = _last_rows.get(table)
    if cached is None or cached.raw_values != raw_values:
        cached = _CachedRow(raw_values, *read_row(dataset, columns, raw))
        _last_rows[table] = cached

    return dict(cached.row), cached.remarks
