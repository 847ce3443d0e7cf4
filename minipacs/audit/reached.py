"""Which studies and patients an entry reached: the UIDs of its request, looked up in the catalogue."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from minipacs.audit.entry import MAX_NAMED, NewEntry
from minipacs.catalogue import Instance, Rendering, Series, Study

LOOKED_UP_AT_ONCE = 500


@dataclass(frozen=True)
class Reached:
    """The studies and the patients of an entry, each named once; a UID the catalogue has not stands for itself."""

    studies: tuple[str, ...]
    patients: tuple[str, ...]

    @property
    def study(self) -> str:
        """The study, where it is one."""
        return self.studies[0] if len(self.studies) == 1 else ""

    @property
    def patient(self) -> str:
        """The patient, where it is one."""
        return self.patients[0] if len(self.patients) == 1 else ""


def find_reached(session: Session, entries: Iterable[NewEntry]) -> Iterator[Reached]:
    """What each entry reached, in their order."""
    entries = list(entries)
    known = look_up_uids(session, {uid for entry in entries for uid in entry.uids})
    for entry in entries:
        places = [known.get(uid, (uid, "")) for uid in entry.uids]
        studies = dict.fromkeys(study for study, _ in places)
        patients = dict.fromkeys([*entry.patients, *(patient for _, patient in places if patient)])
        yield Reached(tuple(studies)[:MAX_NAMED], tuple(patients)[:MAX_NAMED])


def look_up_uids(session: Session, uids: set[str]) -> dict[str, tuple[str, str]]:
    """Study Instance UID and patient of each of these UIDs, of whichever level, that the catalogue has."""
    of_study = select(Study.study_instance_uid, Study.study_instance_uid, Study.patient_key)
    of_series = select(Series.series_instance_uid, Study.study_instance_uid, Study.patient_key)
    of_series = of_series.join(Study, Study.study_key == Series.study_key)
    of_instance = (
        select(Instance.sop_instance_uid, Study.study_instance_uid, Study.patient_key)
        .join(Series, Series.series_key == Instance.series_key)
        .join(Study, Study.study_key == Series.study_key)
    )
    of_rendering = (
        select(Rendering.rendering_id, Study.study_instance_uid, Study.patient_key)
        .join(Instance, Instance.instance_key == Rendering.instance_key)
        .join(Series, Series.series_key == Instance.series_key)
        .join(Study, Study.study_key == Series.study_key)
    )
    levels: tuple[tuple[object, Select[str, str, str]], ...] = (
        (Study.study_instance_uid, of_study),
        (Series.series_instance_uid, of_series),
        (Instance.sop_instance_uid, of_instance),
        (Rendering.rendering_id, of_rendering),
    )

    found: dict[str, tuple[str, str]] = {}
    for column, statement in levels:
        unknown = sorted(uids - found.keys())
        for start in range(0, len(unknown), LOOKED_UP_AT_ONCE):
            some = unknown[start : start + LOOKED_UP_AT_ONCE]
            for uid, study, patient in session.execute(statement.where(column.in_(some))):  # type: ignore[attr-defined]
                found[uid] = (study, patient)
    return found
