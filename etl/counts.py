"""The counts that are kept: changed in the transaction that adds or removes the rows they count.

Writers lock the patients they touch first, in the order of their keys, and the totals last: two at the
same time wait for each other and never lock up (SQLite has one writer at a time anyway).
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from minipacs.catalogue import Instance, Patient, Rendering, Result, Series, Study, Total
from minipacs.database import Database


class Counts:
    """Counts of one transaction; `flush` at its end writes the totals."""

    def __init__(self, session: Session, database: Database) -> None:
        self._session, self._database = session, database
        self._totals: Counter[str] = Counter()

    def lock(self, patient_keys: Iterable[str]) -> None:
        """Let no other writer touch these patients, their studies and series until the end."""
        wanted = select(Patient.patient_key).where(Patient.patient_key.in_(sorted(patient_keys)))
        self._session.execute(wanted.order_by(Patient.patient_key).with_for_update()).all()

    def new_patient(self) -> None:
        """A patient was added."""
        self._totals["patient"] += 1

    def study(self, patient_key: str, number: int = 1) -> None:
        """Studies of this patient were added (negative: removed)."""
        column = Patient.number_of_patient_related_studies
        self._session.execute(
            update(Patient).where(Patient.patient_key == patient_key).values({column: column + number})
        )
        self._totals["study"] += number

    def series(self, study_instance_uid: str, number: int = 1) -> None:
        """Series of this study were added (negative: removed)."""
        session, of_patient = self._session, Patient.number_of_patient_related_series
        column = Study.number_of_study_related_series
        key = self._patient_of(study_instance_uid)
        session.execute(update(Patient).where(Patient.patient_key == key).values({of_patient: of_patient + number}))
        study = update(Study).where(Study.study_instance_uid == study_instance_uid)
        session.execute(study.values({column: column + number}))
        self._totals["series"] += number

    def instances(self, numbers: Mapping[str, int]) -> None:
        """Instances were added (negative: removed), by Series Instance UID."""
        by_study: Counter[str] = Counter()
        by_patient: Counter[str] = Counter()
        of_series = Series.number_of_series_related_instances
        for uid, number in sorted(numbers.items()):
            study = self._session.scalars(select(Series.study_instance_uid).where(Series.series_instance_uid == uid))
            by_study[study.one()] += number
            series = update(Series).where(Series.series_instance_uid == uid)
            self._session.execute(series.values({of_series: of_series + number}))
        of_study = Study.number_of_study_related_instances
        for uid, number in sorted(by_study.items()):
            by_patient[self._patient_of(uid)] += number
            changed = update(Study).where(Study.study_instance_uid == uid)
            self._session.execute(changed.values({of_study: of_study + number}))
        of_patient = Patient.number_of_patient_related_instances
        for key, number in sorted(by_patient.items()):
            patient = update(Patient).where(Patient.patient_key == key)
            self._session.execute(patient.values({of_patient: of_patient + number}))
        self._totals["instance"] += sum(numbers.values())

    def remove(self, uids: Iterable[str]) -> list[str]:
        """Remove instances, and the series, studies and patients that are empty then. The PNGs they had."""
        session, patient_of = self._session, _patients_of(self._session, sorted(uids))
        if not patient_of:
            return []
        self.lock(set(patient_of.values()))
        wanted = sorted(patient_of)  # what came since the look-up stays: its patient is not locked
        paths = list(session.scalars(select(Rendering.png_path).where(Rendering.sop_instance_uid.in_(wanted))))
        gone = delete(Instance).where(Instance.sop_instance_uid.in_(wanted)).returning(Instance.series_instance_uid)
        numbers = Counter(session.scalars(gone))
        self.instances({uid: -number for uid, number in numbers.items()})
        self._remove_empty(numbers)
        return paths

    def _remove_empty(self, series: Iterable[str]) -> None:
        session = self._session
        empty = Series.number_of_series_related_instances == 0
        studies = Counter(
            session.scalars(
                delete(Series)
                .where(Series.series_instance_uid.in_(sorted(series)), empty)
                .returning(Series.study_instance_uid)
            )
        )
        for uid, number in sorted(studies.items()):
            self.series(uid, -number)
        none = Study.number_of_study_related_series == 0
        gone = delete(Study).where(Study.study_instance_uid.in_(sorted(studies)), none)
        left_studies = session.execute(gone.returning(Study.study_instance_uid, Study.patient_key)).all()
        session.execute(delete(Result).where(Result.study_instance_uid.in_([uid for uid, _ in left_studies])))
        patients = Counter(key for _, key in left_studies)
        for key, number in sorted(patients.items()):
            self.study(key, -number)
        nothing = Patient.number_of_patient_related_studies == 0
        left = delete(Patient).where(Patient.patient_key.in_(sorted(patients)), nothing).returning(Patient.patient_key)
        self._totals["patient"] -= len(session.scalars(left).all())

    def flush(self) -> None:
        """Write the totals: last, because every writer waits for these rows."""
        for name, number in sorted(self._totals.items()):
            if number:
                new = self._database.insert(Total).values(name=name, number=number)
                total = {"number": Total.number + number}
                self._session.execute(new.on_conflict_do_update(index_elements=["name"], set_=total))

    def _patient_of(self, study_instance_uid: str) -> str:
        return self._session.scalars(
            select(Study.patient_key).where(Study.study_instance_uid == study_instance_uid)
        ).one()


def _patients_of(session: Session, uids: list[str]) -> dict[str, str]:
    """The patient of each of these instances that is in the catalogue."""
    columns = select(Instance.sop_instance_uid, Study.patient_key)
    joined = columns.join(Series, Series.series_instance_uid == Instance.series_instance_uid).join(
        Study, Study.study_instance_uid == Series.study_instance_uid
    )
    return {row[0]: row[1] for row in session.execute(joined.where(Instance.sop_instance_uid.in_(uids)))}
