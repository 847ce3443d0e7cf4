"""Decides which outcomes become rows: one UID is one object, one series one study, one study one patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from etl.extract import ARCHIVE_PREFIX
from etl.records import Outcome
from minipacs.catalogue import Instance, Series, Study

__all__ = ["CataloguedInstance", "accept_outcomes", "find_replaced_uids", "read_catalogued_instances"]


@dataclass(frozen=True)
class CataloguedInstance:
    """What the catalogue has of an instance, as far as a decision needs it."""

    source: str
    checksum: int | None


def read_catalogued_instances(session: Session, outcomes: Sequence[Outcome]) -> dict[str, CataloguedInstance]:
    """What the catalogue has of these outcomes' objects, by SOP Instance UID."""
    uids = [outcome.sop_instance_uid for outcome in outcomes if outcome.sop_instance_uid]
    columns = select(Instance.sop_instance_uid, Instance.source, Instance.content_checksum)
    rows = session.execute(columns.where(Instance.sop_instance_uid.in_(uids)))
    return {uid: CataloguedInstance(source, checksum) for uid, source, checksum in rows}


def find_replaced_uids(session: Session, outcomes: Sequence[Outcome]) -> list[str]:
    """UIDs that the catalogue has from these sources, which hold other objects now."""
    uid_by_source = {outcome.item.source: outcome.sop_instance_uid for outcome in outcomes}
    columns = select(Instance.sop_instance_uid, Instance.source)
    rows = session.execute(columns.where(Instance.source.in_(uid_by_source)))
    return [uid for uid, source in rows if uid_by_source[source] != uid]


def accept_outcomes(
    session: Session, outcomes: Sequence[Outcome], catalogued: Mapping[str, CataloguedInstance]
) -> list[Outcome]:
    """The outcomes that become rows, each below the study and the patient that its series belongs to.

    The others are rejected: their `rejection` is set.
    """
    known = dict(catalogued)
    accepted = [outcome for outcome in outcomes if outcome.instance and _accept_object(outcome, known)]
    return _accept_consistent_series(session, accepted)


def _accept_object(outcome: Outcome, known: dict[str, CataloguedInstance]) -> bool:
    """Whether this source gives the row of its UID; else it is rejected as a copy or a conflict.

    First come, first served; but the archive is the truth: an archived instance takes the place of the file
    that it is a copy of. An accepted object is added to `known`.
    """
    uid, source = outcome.sop_instance_uid, outcome.item.source
    checksum = outcome.instance["content_checksum"]

    first = known.get(uid)
    if first is None or first.source == source:
        known[uid] = CataloguedInstance(source, checksum)
        return True

    if first.checksum != checksum:
        outcome.reject(
            "conflict",
            f"{uid} is in the catalogue already, with other content: one UID, one object (PS3.5 9).",
            f"Compare it with {first.source}; give one of them another UID.",
        )
        return False

    if source.startswith(ARCHIVE_PREFIX) and not first.source.startswith(ARCHIVE_PREFIX):
        known[uid] = CataloguedInstance(source, checksum)
        return True

    outcome.reject("copy", f"{uid} is in the catalogue already, with the same content.", "Nothing to do.")
    return False


def _accept_consistent_series(session: Session, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes whose series is of no other study; each joins the patient under whom its study was first met."""
    studies, series = Study.study_instance_uid, Series.series_instance_uid

    study_uids = {outcome.study["study_instance_uid"] for outcome in outcomes}
    patient_of = _read_as_dict(session, select(studies, Study.patient_key).where(studies.in_(study_uids)))

    series_uids = {outcome.series["series_instance_uid"] for outcome in outcomes}
    study_of = _read_as_dict(session, select(series, Series.study_instance_uid).where(series.in_(series_uids)))

    accepted = []
    for outcome in outcomes:
        study_uid = outcome.study["study_instance_uid"]
        series_uid = outcome.series["series_instance_uid"]

        if study_of.setdefault(series_uid, study_uid) != study_uid:
            reason = f"Its series {series_uid} belongs to another study (PS3.3 A.1.2.3)."
            outcome.reject("conflict", reason, "Correct its UIDs.")
            continue

        outcome.series["study_instance_uid"] = study_uid
        _assign_patient(outcome, patient_of.setdefault(study_uid, outcome.study["patient_key"]))
        accepted.append(outcome)
    return accepted


def _assign_patient(outcome: Outcome, patient_key: str) -> None:
    """Put an outcome's study below this patient; one that names another patient adds nothing to that patient's row."""
    if outcome.study["patient_key"] == patient_key:
        return
    outcome.study["patient_key"] = patient_key
    outcome.patient = {}
    remarks = outcome.instance["remarks"] or ""
    outcome.instance["remarks"] = f"{remarks} Its Patient ID is not its study's.".strip()


def _read_as_dict(session: Session, columns: Select[str, str]) -> dict[str, str]:
    return {row[0]: row[1] for row in session.execute(columns)}
