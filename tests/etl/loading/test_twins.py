"""UIDs that are twice: under another Patient ID, without one, in another study. Each object has a row of its own."""

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from sqlalchemy import select

from dicom_objects import ROOT, as_file, image, nothing
from etl.catalogue_run import load_source_into_catalogue
from etl.extract import FolderSource
from etl.options import Options
from etl.tally import Tally
from minipacs.catalogue import (
    CatalogueCounts,
    Instance,
    Rejection,
    Rendering,
    Series,
    Study,
    compute_object_keys,
    read_catalogue_counts,
)
from minipacs.database import Database
from postgres import new_database

PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7)
STUDY, SERIES = f"{ROOT}.1", f"{ROOT}.1.1"
OTHER_STUDY = f"{ROOT}.2"

Run = Callable[..., Tally]
Row = tuple[str, str, str, str]


def read_rows(database: Database) -> set[Row]:
    """Patient, Study UID, Series UID and SOP UID of each instance, by the keys that join them."""
    with database.reading() as session:
        joined = (
            select(Study.patient_key, Study.study_instance_uid, Series.series_instance_uid, Instance.sop_instance_uid)
            .join(Series, Series.study_key == Study.study_key)
            .join(Instance, Instance.series_key == Series.series_key)
        )
        rows = [(row[0], row[1], row[2], row[3]) for row in session.execute(joined)]
        assert len(rows) == len(set(rows)) == read_catalogue_counts(session).images
        assert session.scalars(select(Rejection)).all() == []
        return set(rows)


def write(folder: Path, *objects: Dataset) -> None:
    """The objects as files, named in this order."""
    for number, dataset in enumerate(objects):
        (folder / f"{number:03d}").write_bytes(as_file(dataset))


def test_a_report_without_patient_id_takes_nothing_of_its_study(run: Run, source: Path, database: Database) -> None:
    report = nothing(9, PatientID=None, SeriesInstanceUID=f"{ROOT}.1.9", SOPInstanceUID=f"{ROOT}.1.9.1")
    write(source, report, image(PIXELS, 1), image(PIXELS, 2))
    run()

    assert read_rows(database) == {
        (f"study:{STUDY}", STUDY, f"{ROOT}.1.9", f"{ROOT}.1.9.1"),
        ("P1", STUDY, SERIES, f"{SERIES}.1"),
        ("P1", STUDY, SERIES, f"{SERIES}.2"),
    }


def test_a_study_that_was_corrected_midway_and_sent_again_has_both_halves(
    run: Run, source: Path, database: Database
) -> None:
    write(source, image(PIXELS, 1), image(PIXELS, 1, PatientID="P2"), image(PIXELS, 2, PatientID="P2"))
    run()

    assert read_rows(database) == {
        ("P1", STUDY, SERIES, f"{SERIES}.1"),
        ("P2", STUDY, SERIES, f"{SERIES}.1"),
        ("P2", STUDY, SERIES, f"{SERIES}.2"),
    }
    with database.reading() as session:
        pictures = session.scalars(select(Rendering)).all()
        assert len({picture.png_path for picture in pictures}) == 3
        assert all(Path(picture.png_path).is_file() for picture in pictures)


def test_a_series_that_was_copied_to_another_study_leaves_the_original(
    run: Run, source: Path, database: Database
) -> None:
    write(source, image(PIXELS, 1), image(PIXELS, 1, StudyInstanceUID=OTHER_STUDY))
    run()

    rows = {("P1", STUDY, SERIES, f"{SERIES}.1"), ("P1", OTHER_STUDY, SERIES, f"{SERIES}.1")}
    assert read_rows(database) == rows
    with database.reading() as session:
        assert read_catalogue_counts(session) == CatalogueCounts(1, 2, 2, 2)


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_the_order_of_arrival_does_not_decide_which_rows_there_are(order: tuple[int, ...], tmp_path: Path) -> None:
    objects = (
        image(PIXELS, 1),
        image(PIXELS + 1, 1, PatientID="P2"),
        image(PIXELS, 1, StudyInstanceUID=OTHER_STUDY),
        nothing(9, PatientID=None, SeriesInstanceUID=f"{ROOT}.1.9"),
    )
    source = tmp_path / "source"
    source.mkdir()
    write(source, *(objects[index] for index in order))

    with new_database("sqlite", tmp_path) as database:
        load_source_into_catalogue(FolderSource(source), database, Options(target=tmp_path / "png"))
        assert read_rows(database) == {
            ("P1", STUDY, SERIES, f"{SERIES}.1"),
            ("P2", STUDY, SERIES, f"{SERIES}.1"),
            ("P1", OTHER_STUDY, SERIES, f"{SERIES}.1"),
            (f"study:{STUDY}", STUDY, f"{ROOT}.1.9", f"{SERIES}.9"),
        }
        with database.reading() as session:
            for instance in session.scalars(select(Instance).where(Instance.sop_instance_uid == f"{SERIES}.1")):
                patient, study = session.execute(
                    select(Study.patient_key, Study.study_instance_uid)
                    .join(Series, Series.study_key == Study.study_key)
                    .where(Series.series_key == instance.series_key)
                ).one()
                assert instance.instance_key == compute_object_keys(patient, study, SERIES, f"{SERIES}.1").instance
