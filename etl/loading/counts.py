"""The counts that the catalogue keeps: changed in the transaction that adds or removes the rows they count.

Writers lock the patients they touch first, in the order of their keys, and the totals last: two at the
same time wait for each other and never deadlock (SQLite has one writer at a time anyway).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from minipacs.catalogue import Instance, Patient, Rendering, RowCount, SegmentationResult, Series, Study
from minipacs.database import Database

__all__ = ["CountUpdater"]


class CountUpdater:
    """Changes the kept counts within one transaction; call `write_totals` at its end."""

    def __init__(self, session: Session, database: Database) -> None:
        self._session = session
        self._database = database
        self._total_changes: Counter[str] = Counter()

    def lock_patients(self, patient_keys: Iterable[str]) -> None:
        """Let no other writer touch these patients, their studies and series until the transaction ends."""
        wanted = select(Patient.patient_key).where(Patient.patient_key.in_(sorted(patient_keys)))
        self._session.execute(wanted.order_by(Patient.patient_key).with_for_update()).all()

    def find_patients(self, instance_keys: Collection[str]) -> set[str]:
        """The patients of those of these instances that are in the catalogue."""
        return set(self._find_patients_of_instances(sorted(instance_keys)).values()) if instance_keys else set()

    def increase_patient_count(self) -> None:
        """Count a patient that was added."""
        self._total_changes["patient"] += 1

    def change_study_counts(self, patient_key: str, number: int = 1) -> None:
        """Count studies that were added to this patient (negative: removed)."""
        studies = Patient.number_of_patient_related_studies
        patient = update(Patient).where(Patient.patient_key == patient_key)
        self._session.execute(patient.values({studies: studies + number}))

        self._total_changes["study"] += number

    def change_series_counts(self, study_key: str, number: int = 1) -> None:
        """Count series that were added to this study (negative: removed)."""
        of_patient = Patient.number_of_patient_related_series
        patient = update(Patient).where(Patient.patient_key == self._find_patient_of_study(study_key))
        self._session.execute(patient.values({of_patient: of_patient + number}))

        of_study = Study.number_of_study_related_series
        study = update(Study).where(Study.study_key == study_key)
        self._session.execute(study.values({of_study: of_study + number}))

        self._total_changes["series"] += number

    def change_instance_counts(self, number_by_series: Mapping[str, int]) -> None:
        """Count instances that were added (negative: removed), by the key of their series."""
        number_by_study: Counter[str] = Counter()
        of_series = Series.number_of_series_related_instances
        for key, number in sorted(number_by_series.items()):
            series = update(Series).where(Series.series_key == key)
            self._session.execute(series.values({of_series: of_series + number}))
            number_by_study[self._find_study_of_series(key)] += number

        number_by_patient: Counter[str] = Counter()
        of_study = Study.number_of_study_related_instances
        for key, number in sorted(number_by_study.items()):
            study = update(Study).where(Study.study_key == key)
            self._session.execute(study.values({of_study: of_study + number}))
            number_by_patient[self._find_patient_of_study(key)] += number

        of_patient = Patient.number_of_patient_related_instances
        for key, number in sorted(number_by_patient.items()):
            patient = update(Patient).where(Patient.patient_key == key)
            self._session.execute(patient.values({of_patient: of_patient + number}))

        self._total_changes["instance"] += sum(number_by_series.values())

    def remove_instances(self, instance_keys: Iterable[str]) -> list[str]:
        """Remove instances, and the series, studies and patients that are empty then; the paths of their PNGs.

        The files stay: the caller deletes them when the transaction is committed.
        """
        patient_by_instance = self._find_patients_of_instances(sorted(instance_keys))
        if not patient_by_instance:
            return []

        self.lock_patients(set(patient_by_instance.values()))
        known_keys = sorted(patient_by_instance)  # what came since the look-up stays: its patient is not locked
        renderings = select(Rendering.png_path).where(Rendering.instance_key.in_(known_keys))
        png_paths = list(self._session.scalars(renderings))

        removal = delete(Instance).where(Instance.instance_key.in_(known_keys))
        removed_by_series = Counter(self._session.scalars(removal.returning(Instance.series_key)))
        self.change_instance_counts({key: -number for key, number in removed_by_series.items()})

        self.remove_empty_parents(removed_by_series)
        return png_paths

    def remove_empty_parents(self, series_keys: Iterable[str]) -> None:
        """Remove those of these series that have no instance, then their studies without series, and so on."""
        session = self._session

        empty_series = delete(Series).where(
            Series.series_key.in_(sorted(series_keys)), Series.number_of_series_related_instances == 0
        )
        series_by_study = Counter(session.scalars(empty_series.returning(Series.study_key)))
        for key, number in sorted(series_by_study.items()):
            self.change_series_counts(key, -number)

        empty_studies = delete(Study).where(
            Study.study_key.in_(sorted(series_by_study)), Study.number_of_study_related_series == 0
        )
        removed_studies = session.execute(empty_studies.returning(Study.study_instance_uid, Study.patient_key)).all()
        self._remove_results_without_study([uid for uid, _patient_key in removed_studies])

        studies_by_patient = Counter(patient_key for _uid, patient_key in removed_studies)
        for key, number in sorted(studies_by_patient.items()):
            self.change_study_counts(key, -number)

        empty_patients = delete(Patient).where(
            Patient.patient_key.in_(sorted(studies_by_patient)), Patient.number_of_patient_related_studies == 0
        )
        removed_patients = session.scalars(empty_patients.returning(Patient.patient_key)).all()
        self._total_changes["patient"] -= len(removed_patients)

    def write_totals(self) -> None:
        """Write the totals: last in the transaction, because every writer waits for these rows."""
        for name, number in sorted(self._total_changes.items()):
            if not number:
                continue
            new = self._database.build_insert(RowCount).values(name=name, number=number)
            changed = new.on_conflict_do_update(index_elements=["name"], set_={"number": RowCount.number + number})
            self._session.execute(changed)

    def _remove_results_without_study(self, study_uids: list[str]) -> None:
        """Remove the results of these studies, except where another study bears the UID."""
        is_borne = select(Study.study_key).where(Study.study_instance_uid == SegmentationResult.study_instance_uid)
        removal = delete(SegmentationResult).where(SegmentationResult.study_instance_uid.in_(study_uids))
        self._session.execute(removal.where(~is_borne.exists()))

    def _find_study_of_series(self, series_key: str) -> str:
        """The key of the study of a series in the catalogue."""
        wanted = select(Series.study_key).where(Series.series_key == series_key)
        return self._session.scalars(wanted).one()

    def _find_patient_of_study(self, study_key: str) -> str:
        """The patient key of a study in the catalogue."""
        wanted = select(Study.patient_key).where(Study.study_key == study_key)
        return self._session.scalars(wanted).one()

    def _find_patients_of_instances(self, instance_keys: list[str]) -> dict[str, str]:
        """The patient key of each of these instances that is in the catalogue."""
        wanted = (
            select(Instance.instance_key, Study.patient_key)
            .join(Series, Series.series_key == Instance.series_key)
            .join(Study, Study.study_key == Series.study_key)
            .where(Instance.instance_key.in_(instance_keys))
        )
        return {row[0]: row[1] for row in self._session.execute(wanted)}
