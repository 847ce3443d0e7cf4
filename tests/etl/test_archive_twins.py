"""A Study Instance UID that a real Orthanc has twice: each of its studies has its own rows, jobs and removals."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from sqlalchemy import select

from dicom_objects import ROOT, as_file, image, nothing
from etl import work
from etl.loading.prune import remove_instances_missing_from_archive
from minipacs.archive.client import Archive
from minipacs.archive.content import StudyContent
from minipacs.catalogue import (
    ARCHIVE_PREFIX,
    CatalogueCounts,
    Instance,
    Patient,
    Rejection,
    Rendering,
    RowCount,
    Series,
    Study,
    read_catalogue_counts,
)
from minipacs.database import Database
from minipacs.errors import NotInArchive
from minipacs.jobs.contract import Task
from orthanc_server import OrthancServer, running_orthanc

pytestmark = pytest.mark.integration
PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7)
STUDY = f"{ROOT}.1"
REPORT = {"SeriesInstanceUID": f"{ROOT}.1.9", "SOPInstanceUID": f"{ROOT}.1.9.1"}

Catalogue = Callable[[str], None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """An Orthanc for this module."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture
def archive(server: OrthancServer) -> Archive:
    """The archive, empty."""
    for study_id in server.archive.list_study_ids():
        for series in server.archive.read_study(study_id).series:
            server.archive.delete_series(series.series_id)
    return server.archive


@pytest.fixture
def catalogue(server: OrthancServer, archive: Archive, database: Database, tmp_path: Path) -> Catalogue:
    """Do the catalogue job of a study of Orthanc's."""
    settings = replace(server.settings, output=tmp_path / "output")

    def do_job(study_id: str) -> None:
        try:
            study = archive.read_study(study_id)
        except NotInArchive:
            study = StudyContent(study_id, STUDY, ())
        (order,) = work.orders(study, settings)

        class JobTask:
            """As the worker makes it."""

            args = order.args

            def progress(self, *_: object) -> None:
                """Say nothing."""

        task: Any = JobTask()
        task.settings, task.archive, task.database = settings, archive, database
        work.run(cast(Task, task))

    return do_job


def read_instance_keys(database: Database, study_key: str) -> set[str]:
    """The keys of the instances that the catalogue has of a study."""
    with database.reading() as session:
        of_study = select(Instance).join(Series, Series.series_key == Instance.series_key)
        instances = session.scalars(of_study.where(Series.study_key == study_key)).all()
        assert all(instance.source == ARCHIVE_PREFIX + instance.instance_key for instance in instances)
        return {instance.instance_key for instance in instances}


def read_study_keys(database: Database) -> set[str]:
    """The keys of all studies; nothing is rejected."""
    with database.reading() as session:
        assert session.scalars(select(Rejection)).all() == []
        return set(session.scalars(select(Study.study_key)))


def test_the_keys_of_the_rows_are_the_identifiers_of_the_archive(
    archive: Archive, catalogue: Catalogue, database: Database
) -> None:
    archive.store_file(as_file(image(PIXELS, 1)))
    archive.store_file(as_file(image(PIXELS, 1, PatientID="  P2 ")))
    archive.store_file(as_file(nothing(9, PatientID=None, **REPORT)))
    for study_id in archive.list_study_ids():
        catalogue(study_id)

    assert read_study_keys(database) == set(archive.list_study_ids())
    keys = {key for study_id in archive.list_study_ids() for key in read_instance_keys(database, study_id)}
    assert keys == set(archive.list_instance_ids())
    with database.reading() as session:
        series_keys = {
            series.series_id for study_id in archive.list_study_ids() for series in archive.read_study(study_id).series
        }
        assert set(session.scalars(select(Series.series_key))) == series_keys


def test_a_report_without_patient_id_removes_no_picture_of_its_study(
    archive: Archive, catalogue: Catalogue, database: Database
) -> None:
    pictures = {archive.store_file(as_file(image(PIXELS, number))) for number in (1, 2)}
    (study_id,) = archive.list_study_ids()
    catalogue(study_id)

    archive.store_file(as_file(nothing(9, PatientID=None, **REPORT)))
    for each in archive.list_study_ids():
        catalogue(each)

    assert read_instance_keys(database, study_id) == pictures
    assert len(read_study_keys(database)) == 2


def test_a_study_that_is_deleted_leaves_the_study_that_bears_its_uid(
    archive: Archive, catalogue: Catalogue, database: Database
) -> None:
    archive.store_file(as_file(image(PIXELS, 1)))
    (gone,) = archive.list_study_ids()
    archive.store_file(as_file(image(PIXELS, 1, PatientID="P2")))
    (stays,) = set(archive.list_study_ids()) - {gone}
    catalogue(gone)
    catalogue(stays)

    for series in archive.read_study(gone).series:
        archive.delete_series(series.series_id)
    catalogue(gone)

    assert read_study_keys(database) == {stays}
    assert read_instance_keys(database, stays) == set(archive.list_instance_ids())


def test_pruning_removes_of_each_study_what_the_archive_has_no_more(
    archive: Archive, catalogue: Catalogue, database: Database
) -> None:
    archive.store_file(as_file(image(PIXELS, 1)))
    archive.store_file(as_file(image(PIXELS, 1, PatientID="P2")))
    for study_id in archive.list_study_ids():
        catalogue(study_id)
    assert remove_instances_missing_from_archive(archive, database) == 0

    gone, stays = archive.list_study_ids()
    for series in archive.read_study(gone).series:
        archive.delete_series(series.series_id)

    assert remove_instances_missing_from_archive(archive, database) == 1
    assert read_study_keys(database) == {stays}


def test_halves_that_were_one_study_before_the_keys_are_parted_by_their_jobs(
    archive: Archive, catalogue: Catalogue, database: Database
) -> None:
    first = archive.store_file(as_file(image(PIXELS, 1)))
    (of_first,) = archive.list_study_ids()
    second = archive.store_file(as_file(image(PIXELS, 2, PatientID="P2")))
    (of_second,) = set(archive.list_study_ids()) - {of_first}
    add_rows_of_before_the_keys(archive, database, of_first, [first, second])

    catalogue(of_second)
    assert (read_instance_keys(database, of_first), read_instance_keys(database, of_second)) == ({first}, {second})

    catalogue(of_first)
    assert (read_instance_keys(database, of_first), read_instance_keys(database, of_second)) == ({first}, {second})
    with database.reading() as session:
        assert read_catalogue_counts(session) == CatalogueCounts(2, 2, 2, 2)
        assert [study.number_of_study_related_instances for study in session.scalars(select(Study))] == [1, 1]
        pictures = session.scalars(select(Rendering)).all()
        assert {picture.instance_key for picture in pictures} == {first, second}
        assert "old-picture" not in {picture.rendering_id for picture in pictures}


def add_rows_of_before_the_keys(
    archive: Archive, database: Database, study_id: str, instance_ids: Sequence[str]
) -> None:
    """Rows as step 0015 leaves them: instances of two patients below the study of one."""
    (series,) = archive.read_study(study_id).series
    number = len(instance_ids)
    uids = {"study_instance_uid": STUDY, "series_instance_uid": series.series_instance_uid}
    patient = {f"number_of_patient_related_{level}": 1 for level in ("studies", "series")}
    study = {"number_of_study_related_series": 1, "number_of_study_related_instances": number}
    with database.writing() as session:
        session.add(Patient(patient_key="P1", patient_id="P1", number_of_patient_related_instances=number, **patient))
        session.flush()
        session.add(Study(study_key=study_id, study_instance_uid=STUDY, patient_key="P1", **study))
        session.flush()
        keys = {"series_key": series.series_id, "study_key": study_id}
        session.add(Series(**keys, **uids, modality="CT", number_of_series_related_instances=number))
        session.flush()
        for position, instance_id in enumerate(instance_ids, 1):
            session.add(
                Instance(
                    instance_key=instance_id,
                    series_key=series.series_id,
                    sop_instance_uid=f"{ROOT}.1.1.{position}",
                    series_instance_uid=series.series_instance_uid,
                    source=ARCHIVE_PREFIX + instance_id,
                )
            )
        session.flush()
        session.add(
            Rendering(
                rendering_id="old-picture", instance_key=instance_ids[-1], sop_instance_uid=f"{ROOT}.1.1.{number}",
                frame_number=1, split="train", png_path="/nowhere/old-picture.png", sha256="0", bytes=1, bit_depth=8,
                rows=5, columns=7, window_source="header", rules=1,
            )
        )  # fmt: skip
        for name, rows in (("patient", 1), ("study", 1), ("series", 1), ("instance", number)):
            session.add(RowCount(name=name, number=rows))
