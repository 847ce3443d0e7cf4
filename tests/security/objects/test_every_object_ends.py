"""Every object of the archive ends as a row or a rejection, whatever the order in which others come and go."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from pydicom import config
from sqlalchemy import delete, select

from dicom_objects import ROOT, as_file, image, nothing
from etl import command
from etl.catalogue_run import load_source_into_catalogue
from etl.extract import FolderSource
from etl.loading import loader
from etl.loading.acceptance import accept_outcomes
from etl.loading.removal import remove_instances
from etl.options import Options
from etl.records import Outcome, SourceItem
from etl.transform import transform
from etl.work import orders, run
from minipacs.archive.client import Archive, ArchivedInstance
from minipacs.archive.content import InstanceContent, SeriesContent, StudyContent
from minipacs.catalogue import Instance, Rejection, compute_object_keys
from minipacs.database import Database
from minipacs.doctor import catalogue_check
from minipacs.errors import ArchiveRefused, NotInArchive
from minipacs.jobs.planner import FollowedStudy
from minipacs.jobs.queue import JobQueue
from minipacs.settings import Settings
from postgres import new_database
from security.objects.hostile_objects import PIXELS
from stack import settings_for


class MemoryArchive:
    """An archive in memory, with Orthanc's studies: by Patient ID and Study Instance UID."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.studies: dict[str, StudyContent] = {}

    def store(self, study_id: str, *files: bytes, instance_ids: Sequence[str] = ()) -> None:
        """Put files into a study of Orthanc's."""
        ids = instance_ids or [f"{study_id}-{number}" for number in range(len(files))]
        self.files.update(zip(ids, files, strict=True))
        uids = [InstanceContent(f"{ROOT}.1.1.{number + 1}", key) for number, key in enumerate(ids)]
        series = SeriesContent(f"{study_id}-s", f"{ROOT}.1.1", "CT", "", "", tuple(uids))
        self.studies[study_id] = StudyContent(study_id, f"{ROOT}.1", (series,))

    def find_ids(self, level: str, uid: str) -> list[str]:
        """Of studies alone."""
        return [key for key, study in self.studies.items() if level == "Study" and study.study_instance_uid == uid]

    def read_study(self, study_id: str) -> StudyContent:
        """A study."""
        if study_id not in self.studies:
            raise NotInArchive("The archive has no such study.")
        return self.studies[study_id]

    def list_instance_ids(self) -> list[str]:
        """Of all studies."""
        return [i.instance_id for study in self.studies.values() for series in study.series for i in series.instances]

    def count_instances(self) -> int:
        """Of all studies."""
        return len(self.list_instance_ids())

    def find_instances(self, instance_ids: Iterable[str]) -> Iterator[ArchivedInstance]:
        """Those that are there."""
        wanted = set(instance_ids)
        for study_id, study in self.studies.items():
            for instance in study.series[0].instances:
                if instance.instance_id in wanted:
                    yield ArchivedInstance(instance.instance_id, instance.sop_instance_uid, study_id)

    def find_parent_studies(self, resource_ids: Iterable[str]) -> set[str]:
        """The studies of instances."""
        return {instance.study_id for instance in self.find_instances(resource_ids)}

    def read_file(self, instance_id: str) -> bytes:
        """A file; an empty one is lost."""
        if not self.files[instance_id]:
            raise ArchiveRefused("Orthanc answered 500.")
        return self.files[instance_id]

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty catalogue on SQLite, and on PostgreSQL."""
    with new_database(request.param, tmp_path) as empty:
        yield empty


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> MemoryArchive:
    """In place of Orthanc."""
    memory = MemoryArchive()
    monkeypatch.setattr("minipacs.archive.client.Archive", lambda _settings: memory)
    return memory


@pytest.fixture
def catalogue(database: Database, archive: MemoryArchive, tmp_path: Path) -> Callable[[str], None]:
    """Do the job of a study of Orthanc's."""
    settings: Settings = replace(settings_for(tmp_path), output=tmp_path / "output")

    def do_job(study_id: str) -> None:
        study = archive.studies.get(study_id) or StudyContent(study_id, f"{ROOT}.1", ())
        (order,) = orders(study, settings)

        class Task:
            """As the worker makes it."""

            args = order.args

            def progress(self, *_: object) -> None:
                """Nobody looks."""

        task: Any = Task()
        task.settings, task.database, task.archive = settings, database, archive
        run(task)

    return do_job


def read_sources(database: Database) -> tuple[set[str], set[str]]:
    """The sources that have a row, and those that have a rejection."""
    with database.reading() as session:
        rows, rejections = session.scalars(select(Instance.source)), session.scalars(select(Rejection.source))
        return set(rows), set(rejections)


def test_the_same_objects_of_two_patients_are_two_jobs_and_none_removes_the_others_rows(
    archive: MemoryArchive, catalogue: Callable[[str], None], database: Database, tmp_path: Path
) -> None:
    archive.store("a", as_file(image(PIXELS, 1)), as_file(image(PIXELS, 2)))
    archive.store("b", as_file(image(PIXELS, 1, PatientID="P2")), as_file(image(PIXELS, 2, PatientID="P2")))
    settings = settings_for(tmp_path)
    keys = {orders(study, settings)[0].key for study in archive.studies.values()}

    catalogue("a")
    catalogue("b")
    rows, rejections = read_sources(database)

    assert len(keys) == 2
    assert rows == {"archive:a-0", "archive:a-1", "archive:b-0", "archive:b-1"}
    assert rejections == set()


def test_a_deleted_study_takes_no_row_of_another_with_its_uids(
    archive: MemoryArchive, catalogue: Callable[[str], None], database: Database
) -> None:
    archive.store("a", as_file(image(PIXELS, 1)))
    archive.store("b", as_file(image(PIXELS, 1, PatientID="P2")))
    catalogue("a")
    catalogue("b")

    del archive.studies["a"]
    catalogue("a")

    assert read_sources(database) == ({"archive:b-0"}, set())


def test_a_rejection_stays_until_its_object_was_looked_at_again(database: Database, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(as_file(image(PIXELS, 1)))
    (source / "b").write_bytes(as_file(image(PIXELS + 1, 1)))
    options = Options(target=tmp_path / "png")
    load_source_into_catalogue(FolderSource(source), database, options)

    key = compute_object_keys("P1", f"{ROOT}.1", f"{ROOT}.1.1", f"{ROOT}.1.1.1").instance
    remove_instances(database, [key])  # and killed after this

    assert read_sources(database) == (set(), {str(source / "b")})
    (source / "a").unlink()
    load_source_into_catalogue(FolderSource(source), database, options)
    assert read_sources(database) == ({str(source / "b")}, set())


def test_an_archived_instance_takes_the_place_of_a_file_that_has_its_key(
    archive: MemoryArchive, catalogue: Callable[[str], None], database: Database, tmp_path: Path
) -> None:
    keys = compute_object_keys("P1", f"{ROOT}.1", f"{ROOT}.1.1", f"{ROOT}.1.1.1")
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(as_file(image(PIXELS + 1, 1)))
    load_source_into_catalogue(FolderSource(source), database, Options(target=tmp_path / "png"))

    archive.store("a", as_file(image(PIXELS, 1)), instance_ids=[keys.instance])
    catalogue("a")

    assert read_sources(database) == ({f"archive:{keys.instance}"}, set())


def test_an_instance_whose_file_the_archive_has_lost_is_a_rejection_and_the_others_have_rows(
    archive: MemoryArchive, catalogue: Callable[[str], None], database: Database
) -> None:
    archive.store("a", as_file(image(PIXELS, 1)), b"", as_file(image(PIXELS, 3)))

    catalogue("a")

    assert read_sources(database) == ({"archive:a-0", "archive:a-2"}, {"archive:a-1"})


def test_a_value_that_the_database_refuses_rejects_its_object_alone(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in (1, 2, 3):
        (source / f"{number}").write_bytes(as_file(nothing(number)))

    def transform_into_a_huge_number(item: SourceItem, data: bytes, options: Options, folder: Path) -> Outcome:
        outcome = transform(item, data, options, folder)
        if item.source.endswith("2"):
            outcome.instance["rows"] = 10**30
        return outcome

    monkeypatch.setattr("etl.catalogue_run.transform", transform_into_a_huge_number)
    load_source_into_catalogue(FolderSource(source), database, Options(target=tmp_path / "png"))

    with database.reading() as session:
        rejected = session.scalars(select(Rejection)).one()
        assert (rejected.code, rejected.source[-1:]) == ("not_storable", "2")
        assert len(session.scalars(select(Instance)).all()) == 2


def test_a_long_or_broken_text_never_stops_the_catalogue(database: Database, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    long = "".join(chr(0x100 + number % 5000) for number in range(9000))
    with config.disable_value_validation():
        for number, text in enumerate((long, "a\0b", "x" * 500, "=1+1\x1b[2J"), 1):
            dataset = nothing(number, SpecificCharacterSet="ISO_IR 192", StudyDescription=text, AccessionNumber=text)
            (source / f"{number}").write_bytes(as_file(dataset))

    load_source_into_catalogue(FolderSource(source), database, Options(target=tmp_path / "png"))

    with database.reading() as session:
        assert len(session.scalars(select(Instance)).all()) == 4


def test_a_row_that_another_writer_inserted_meanwhile_is_not_taken_from_its_source(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database.is_postgresql:
        pytest.skip("SQLite has one writer at a time")
    folder = tmp_path / "png"
    folder.mkdir()
    options = Options(target=folder)

    def make_outcome(source: str) -> Outcome:
        return transform(SourceItem(source), as_file(nothing(1)), options, folder)

    def accept_after_another_writer(*arguments: Any) -> list[Outcome]:
        monkeypatch.setattr(loader, "accept_outcomes", accept_outcomes)
        loader.Loader(database, options).load([make_outcome("/data/first")], folder)
        return accept_outcomes(*arguments)

    monkeypatch.setattr(loader, "accept_outcomes", accept_after_another_writer)
    loader.Loader(database, options).load([make_outcome("/data/second")], folder)

    assert read_sources(database) == ({"/data/first"}, {"/data/second"})


@pytest.fixture
def doctor(database: Database, archive: MemoryArchive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The doctor's check of archive and catalogue."""
    monkeypatch.setattr(catalogue_check, "Archive", lambda _settings, **_options: archive)
    settings = replace(settings_for(tmp_path), database_url=database.url)
    return lambda: catalogue_check.check_catalogue(settings)


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_the_doctor_names_an_instance_with_neither_row_nor_rejection_and_the_command_that_catalogues_it(
    page: int, doctor: Any, archive: MemoryArchive, catalogue: Any, database: Database, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(catalogue_check, "PAGE_SIZE", page)
    archive.store("a", as_file(image(PIXELS, 1)), b"no DICOM", as_file(image(PIXELS, 3)))
    catalogue("a")
    assert doctor().state == "ok"

    with database.writing() as session:
        session.execute(delete(Rejection))

    assert doctor().state == "failed"
    assert doctor().seen == f"1 instance of the archive has neither row nor rejection: {ROOT}.1.1.2"
    assert "etl --missing" in doctor().remedy

    settings = replace(settings_for(tmp_path), database_url=database.url)
    command._load_missing_into_catalogue(
        cast(Archive, archive), database, Options(target=tmp_path / "png"), settings, {}
    )
    assert doctor().state == "ok"


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_the_doctor_counts_both_sides_and_names_the_first_of_each(
    page: int, doctor: Any, archive: MemoryArchive, catalogue: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(catalogue_check, "PAGE_SIZE", page)
    archive.store("a", *[as_file(image(PIXELS, number)) for number in range(1, 8)])
    catalogue("a")
    archive.studies.clear()
    archive.store("b", *[b"no DICOM"] * 7)

    found = doctor()

    named = ", ".join(f"{ROOT}.1.1.{number}" for number in range(1, 6))
    assert found.state == "failed"
    assert found.seen == (
        f"7 instances of the archive have neither row nor rejection: {named} and 2 more; "
        f"7 entries of the catalogue have no instance in the archive any more: {named} and 2 more"
    )
    assert "etl --missing" in found.remedy
    assert "etl --prune" in found.remedy


def test_as_many_on_both_sides_are_no_agreement(
    doctor: Any, archive: MemoryArchive, catalogue: Any, monkeypatch: Any
) -> None:
    """Above 100,000 instances equal numbers were taken for agreement."""
    monkeypatch.setattr(catalogue_check, "MAX_COMPARED", 0, raising=False)
    archive.store("a", as_file(image(PIXELS, 1)))
    catalogue("a")
    archive.studies.clear()
    archive.store("b", b"no DICOM")

    assert doctor().state == "failed"


def test_the_doctor_names_what_the_archive_has_no_more(doctor: Any, archive: MemoryArchive, catalogue: Any) -> None:
    archive.store("a", as_file(image(PIXELS, 1)))
    catalogue("a")
    archive.studies.clear()

    assert doctor().state == "warning"
    assert f"{ROOT}.1.1.1" in doctor().seen
    assert "etl --prune" in doctor().remedy


def test_the_doctor_says_how_many_studies_are_still_to_be_catalogued_and_what_is_missing_of_the_others(
    doctor: Any, archive: MemoryArchive, database: Database, tmp_path: Path
) -> None:
    settings = replace(settings_for(tmp_path), database_url=database.url)
    archive.store("a", as_file(image(PIXELS, 1)))
    archive.store("b", as_file(image(PIXELS, 2)))
    assert catalogue_check.check_waiting_studies(settings).seen.startswith("all studies are catalogued")

    (order,) = orders(archive.studies["b"], settings)
    with database.writing() as session:
        session.add(FollowedStudy(study_id="a", due=1.0))
        JobQueue(database).submit(session, order)
    waiting = catalogue_check.check_waiting_studies(settings)
    assert waiting.seen == "2 studies still to be catalogued: 1 with an open job, 1 not planned yet"
    assert doctor().state == "ok"

    archive.store("c", as_file(image(PIXELS, 3)))
    assert doctor().state == "failed"
    assert doctor().seen.startswith("1 instance of the archive has neither row nor rejection")
