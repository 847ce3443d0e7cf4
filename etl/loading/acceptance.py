"""Decides which outcomes become rows: one key is one object, from one source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from etl.extract import ARCHIVE_PREFIX
from etl.records import Outcome
from minipacs.catalogue import Instance, Study

__all__ = [
    "CataloguedInstance",
    "accept_outcomes",
    "find_moved_instances",
    "find_replaced_instances",
    "read_catalogued_instances",
]


@dataclass(frozen=True)
class CataloguedInstance:
    """What the catalogue has of an instance, as far as a decision needs it."""

    source: str
    checksum: int | None
    series_key: str


def read_catalogued_instances(session: Session, outcomes: Sequence[Outcome]) -> dict[str, CataloguedInstance]:
    """What the catalogue has of these outcomes' objects, by the instance's key."""
    keys = [outcome.instance_key for outcome in outcomes if outcome.instance_key]
    columns = select(Instance.instance_key, Instance.source, Instance.content_checksum, Instance.series_key)
    rows = session.execute(columns.where(Instance.instance_key.in_(keys)))
    return {key: CataloguedInstance(source, checksum, series_key) for key, source, checksum, series_key in rows}


def find_replaced_instances(session: Session, outcomes: Sequence[Outcome]) -> list[str]:
    """Keys of the instances that the catalogue has from these sources, which hold other objects now."""
    key_by_source = {outcome.item.source: outcome.instance_key for outcome in outcomes}
    columns = select(Instance.instance_key, Instance.source)
    rows = session.execute(columns.where(Instance.source.in_(key_by_source)))
    return [key for key, source in rows if key_by_source[source] != key]


def find_moved_instances(outcomes: Sequence[Outcome], catalogued: Mapping[str, CataloguedInstance]) -> list[str]:
    """Keys of the instances that the catalogue has in another series: of before the keys, whose series was a guess."""
    return [
        outcome.instance_key
        for outcome in outcomes
        if (before := catalogued.get(outcome.instance_key)) and before.series_key != outcome.instance["series_key"]
    ]


def accept_outcomes(
    session: Session, outcomes: Sequence[Outcome], catalogued: Mapping[str, CataloguedInstance]
) -> list[Outcome]:
    """The outcomes that become rows, each below the patient that its study belongs to.

    The others are rejected: their `rejection` is set.
    """
    known = dict(catalogued)
    accepted = [outcome for outcome in outcomes if outcome.instance and _accept_object(outcome, known)]
    _assign_patients(session, accepted)
    return accepted


def _accept_object(outcome: Outcome, known: dict[str, CataloguedInstance]) -> bool:
    """Whether this source gives the row of its key; else it is rejected as a copy or a conflict.

    First come, first served; but the archive is the truth: an archived instance takes the place of the file that has
    its key. An accepted object is added to `known`.
    """
    key, uid, source = outcome.instance_key, outcome.sop_instance_uid, outcome.item.source
    checksum = outcome.instance["content_checksum"]
    new = CataloguedInstance(source, checksum, outcome.instance["series_key"])

    first = known.get(key)
    if first is None or first.source == source:
        known[key] = new
        return True

    if source.startswith(ARCHIVE_PREFIX) and not first.source.startswith(ARCHIVE_PREFIX):
        known[key] = new
        return True

    if first.checksum != checksum:
        outcome.reject(
            "conflict",
            f"{uid} is in the catalogue already, with other content: one UID, one object (PS3.5 9).",
            f"Compare it with {first.source}; give one of them another UID.",
        )
        return False

    outcome.reject("copy", f"{uid} is in the catalogue already, with the same content.", "Nothing to do.")
    return False


def _assign_patients(session: Session, outcomes: Sequence[Outcome]) -> None:
    """Put each study below the patient under whom it was first met: what Orthanc takes for one Patient ID is one."""
    study_keys = {outcome.study["study_key"] for outcome in outcomes}
    columns = select(Study.study_key, Study.patient_key).where(Study.study_key.in_(study_keys))
    patient_of = {row[0]: row[1] for row in session.execute(columns)}

    for outcome in outcomes:
        own = outcome.study["patient_key"]
        patient_key = patient_of.setdefault(outcome.study["study_key"], own)
        if patient_key != own:
            outcome.study["patient_key"] = patient_key
            outcome.patient = {}
