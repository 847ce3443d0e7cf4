"""Counts that are kept equal counts that are scanned, whoever writes at the same time."""

import random
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dicom_objects import ROOT, as_file, image
from etl.catalogue_run import load_source_into_catalogue
from etl.extract import FolderSource
from etl.loading import counts
from etl.loading.removal import remove_instances
from etl.options import Options
from etl.tally import Tally
from minipacs.catalogue import (
    CatalogueCounts,
    Instance,
    Patient,
    Rendering,
    SegmentationResult,
    Series,
    Study,
    compute_object_keys,
    read_catalogue_counts,
)
from minipacs.database import Database
from waiting import PATIENCE_S

PIXELS = np.arange(6, dtype=np.uint16).reshape(2, 3)


def check_counts(session: Session) -> None:
    """Scan, and compare with what is kept."""
    scanned = [session.scalar(select(func.count()).select_from(t)) for t in (Patient, Study, Series, Instance)]
    assert read_catalogue_counts(session) == CatalogueCounts(*(number or 0 for number in scanned))
    for series in session.scalars(select(Series)):
        found = select(func.count()).where(Instance.series_key == series.series_key)
        assert series.number_of_series_related_instances == session.scalar(found) > 0
    for study in session.scalars(select(Study)):
        within = select(Series).where(Series.study_key == study.study_key)
        numbers = [s.number_of_series_related_instances for s in session.scalars(within)]
        assert (study.number_of_study_related_series, study.number_of_study_related_instances) == (
            len(numbers),
            sum(numbers),
        )
    for patient in session.scalars(select(Patient)):
        of = list(session.scalars(select(Study).where(Study.patient_key == patient.patient_key)))
        assert patient.number_of_patient_related_studies == len(of) > 0
        assert patient.number_of_patient_related_series == sum(s.number_of_study_related_series for s in of)
        assert patient.number_of_patient_related_instances == sum(s.number_of_study_related_instances for s in of)


def write_files(folder: Path) -> list[str]:
    """Three patients, two studies each, two series each, three instances each: 36 files. Their UIDs."""
    uids = []
    for n in range(36):
        patient, study, series = n % 3, n // 3 % 2, n // 6 % 2
        root = f"{ROOT}.{patient}.{study}"
        uids.append(f"{root}.{series}.{n}")
        elements = {
            "PatientID": f"P{patient}",
            "StudyInstanceUID": root,
            "SeriesInstanceUID": f"{root}.{series}",
            "SOPInstanceUID": uids[-1],
        }
        (folder / f"{n:03d}").write_bytes(as_file(image(PIXELS + n, n, **elements)))
    return uids


def find_keys(database: Database, uids: list[str]) -> list[str]:
    """The keys of these instances, in this order; of one that is not in the catalogue, none."""
    with database.reading() as session:
        columns = select(Instance.sop_instance_uid, Instance.instance_key)
        keys = {row[0]: row[1] for row in session.execute(columns)}
    return [keys[uid] for uid in uids if uid in keys]


def test_counts_follow_every_addition_and_removal(run: Callable[..., Tally], source: Path, database: Database) -> None:
    uids = write_files(source)
    run()
    with database.reading() as session:
        check_counts(session)
        assert read_catalogue_counts(session) == CatalogueCounts(3, 6, 12, 36)
    chance = random.Random(7)
    chance.shuffle(uids)
    while uids:
        gone, uids = uids[:5], uids[5:]
        assert remove_instances(database, find_keys(database, gone)) == len(gone)
        with database.reading() as session:
            check_counts(session)
    with database.reading() as session:
        assert read_catalogue_counts(session) == CatalogueCounts()
        assert session.scalar(select(func.count()).select_from(Rendering)) == 0


def test_results_leave_the_catalogue_with_their_study(
    run: Callable[..., Tally], source: Path, database: Database
) -> None:
    uids = write_files(source)
    run()
    kept, gone = f"{ROOT}.0.0", f"{ROOT}.1.1"
    with database.writing() as session:
        for study in (kept, gone):
            session.add(
                SegmentationResult(
                    seg_series_instance_uid=f"{study}.9",
                    study_instance_uid=study,
                    series_instance_uid="1",
                    engine="e",
                    version="1",
                    created="2026-01-01T00:00:00+00:00",
                    manifest={},
                )
            )
    remove_instances(database, find_keys(database, [uid for uid in uids if uid.startswith(gone)]))
    with database.reading() as session:
        assert [row.study_instance_uid for row in session.scalars(select(SegmentationResult))] == [kept]


def test_writers_at_the_same_time_count_right(source: Path, database: Database, options: Options) -> None:
    """Three add the same files in different order; one removes some of them meanwhile."""
    uids = write_files(source)
    mistakes: list[BaseException] = []

    def work(number: int) -> None:
        folder = source.parent / f"part{number}"
        folder.mkdir()
        for path in source.iterdir():
            (folder / f"{(int(path.name) * (7, 11, 13)[number % 3]) % 36:03d}-{path.name}").write_bytes(
                path.read_bytes()
            )
        try:
            load_source_into_catalogue(FolderSource(folder), database, options)
        except BaseException as error:
            mistakes.append(error)

    def take() -> None:
        try:
            for uid in uids[::4]:
                remove_instances(database, find_keys(database, [uid]))
        except BaseException as error:
            mistakes.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)] + [threading.Thread(target=take)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert mistakes == []
    with database.reading() as session:
        check_counts(session)
        for rendering in session.scalars(select(Rendering)):
            assert Path(rendering.png_path).is_file()


def test_what_comes_while_it_is_to_be_removed_stays_and_locks_nobody_up(
    source: Path, database: Database, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing it without its patient's lock would wait for who holds that lock and waits for us."""
    if not database.is_postgresql:
        pytest.skip("SQLite has one writer at a time")
    uids = write_files(source)
    first = source.parent / "first"
    first.mkdir()
    (first / "000").write_bytes((source / "000").read_bytes())
    load_source_into_catalogue(FolderSource(first), database, options)
    keys = [compute_object_keys("P0", f"{ROOT}.0.0", f"{ROOT}.0.0.0", uids[0]).instance]
    keys.append(compute_object_keys("P1", f"{ROOT}.1.0", f"{ROOT}.1.0.0", uids[1]).instance)
    lock, came = counts.CountUpdater.lock_patients, []

    def later(counts: counts.CountUpdater, patients: Iterable[str]) -> None:
        if not came:
            came.append(True)
            load_source_into_catalogue(FolderSource(source), database, options)
        lock(counts, patients)

    monkeypatch.setattr(counts.CountUpdater, "lock_patients", later)
    remove_instances(database, keys)
    with database.reading() as session:
        check_counts(session)
        assert uids[0] not in set(session.scalars(select(Instance.sop_instance_uid)))
        assert uids[1] in set(session.scalars(select(Instance.sop_instance_uid)))


def test_two_patients_under_one_study_uid_are_two_studies(
    run: Callable[..., Tally], source: Path, database: Database
) -> None:
    """Each picture goes where its own patient goes."""
    from etl.split import assign_split

    other = next(f"P{n}" for n in range(99) if assign_split(f"P{n}") != assign_split("P1"))
    (source / "a").write_bytes(as_file(image(PIXELS, 1)))
    (source / "b").write_bytes(as_file(image(PIXELS, 2, PatientID=other)))
    run()
    with database.reading() as session:
        check_counts(session)
        assert read_catalogue_counts(session) == CatalogueCounts(2, 2, 2, 2)
        splits = dict(session.execute(select(Rendering.sop_instance_uid, Rendering.split)).all())
        assert splits == {f"{ROOT}.1.1.1": assign_split("P1"), f"{ROOT}.1.1.2": assign_split(other)}
        patients = dict(session.execute(select(Study.patient_key, Study.study_instance_uid)).all())
        assert patients == {"P1": f"{ROOT}.1", other: f"{ROOT}.1"}


def test_a_series_uid_in_two_studies_is_two_series(run: Callable[..., Tally], source: Path, database: Database) -> None:
    (source / "a").write_bytes(as_file(image(PIXELS, 1)))
    (source / "b").write_bytes(as_file(image(PIXELS, 2, StudyInstanceUID=f"{ROOT}.2")))
    assert run().rejected == {}
    with database.reading() as session:
        check_counts(session)
        assert read_catalogue_counts(session) == CatalogueCounts(1, 2, 2, 2)
