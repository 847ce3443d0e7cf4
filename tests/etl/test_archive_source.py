"""From a real Orthanc: jobs, the change log, one study or series, and what was deleted."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from dicom_objects import ROOT, as_file, image, nothing
from etl import command, work
from etl.changes import ArchiveFollower
from etl.loading.prune import remove_instances_missing_from_archive
from etl.options import Options
from minipacs.archive.client import Archive
from minipacs.catalogue import CatalogueCounts, Instance, Rendering, read_catalogue_counts
from minipacs.cli import main
from minipacs.database import Database
from minipacs.errors import ArchiveError, ArchiveUnreachable, NotInArchive
from minipacs.settings import Settings
from stack import settings_for
from waiting import until

pytestmark = pytest.mark.integration
PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A bare Orthanc for this module; its settings."""
    if shutil.which("Orthanc") is None:
        pytest.skip("Orthanc is not installed")
    home = tmp_path_factory.mktemp("orthanc")
    settings = settings_for(home, orthanc_password="x")
    config = {
        "StorageDirectory": str(home / "storage"),
        "IndexDirectory": str(home / "storage"),
        "HttpPort": settings.orthanc_port,
        "DicomPort": settings.dicom_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {settings.orthanc_user: "x"},
        "Plugins": [],
    }
    (home / "orthanc.json").write_text(json.dumps(config))
    log = (home / "log").open("w")
    process = subprocess.Popen(["Orthanc", str(home / "orthanc.json")], stdout=log, stderr=log, env=dict(os.environ))
    archive = Archive(settings)

    def answers() -> bool:
        try:
            return bool(archive.read_version())
        except ArchiveError:
            return False

    try:
        until(answers, what="Orthanc to answer")
        yield settings
    finally:
        archive.close()
        process.terminate()
        process.wait()
        log.close()


@pytest.fixture
def archive(orthanc: Settings) -> Iterator[Archive]:
    """The archive, empty."""
    opened = Archive(orthanc)
    for study_id in opened.list_study_ids():
        for series in opened.read_study(study_id).series:
            opened.delete_series(series.series_id)
    yield opened
    opened.close()


class FakeTask:
    """What a job has at hand, without a job service."""

    def __init__(self, settings: Settings, archive: Archive, database: Database, args: dict[str, Any]) -> None:
        self.settings, self.archive, self.database, self.args = settings, archive, database, args
        self.said: list[tuple[Any, ...]] = []

    def progress(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        """Remember."""
        self.said.append((stage, done, total))


Job = Callable[[], dict[str, Any]]


@pytest.fixture
def job(orthanc: Settings, archive: Archive, database: Database, tmp_path: Path) -> Job:
    """Run the order of the one study in the archive."""
    from dataclasses import replace

    settings = replace(orthanc, output=tmp_path / "output")

    def run() -> dict[str, Any]:
        (study_id,) = archive.list_study_ids()
        (order,) = work.orders(archive.read_study(study_id), settings)
        task = FakeTask(settings, archive, database, order.args)
        result = work.run(task)
        number = sum(len(series.instances) for series in archive.read_study(study_id).series)
        assert task.said[-1] == ("cataloguing", number, number)
        return json.loads(json.dumps(result))

    return run


def test_a_job_catalogues_its_study_once(job: Job, archive: Archive, database: Database, tmp_path: Path) -> None:
    for number in (1, 2):
        archive.store_file(as_file(image(PIXELS + number, number)))
    archive.store_file(as_file(nothing(3, SeriesInstanceUID=f"{ROOT}.1.2")))
    first = job()
    assert (first["added"], first["rendered"], first["rejected"]) == (3, 2, 0)
    assert first["summary"] == "3 added, 0 unchanged, 2 pictures."
    again = job()
    assert (again["added"], again["unchanged"], again["rendered"]) == (0, 3, 0)
    archive.store_file(as_file(image(PIXELS, 4)))
    assert job()["added"] == 1
    with database.reading() as session:
        assert read_catalogue_counts(session) == CatalogueCounts(1, 1, 2, 4)
        paths = list(session.scalars(select(Rendering.png_path)))
    assert sorted(paths) == sorted(str(p) for p in (tmp_path / "output" / "png").rglob("*.png"))


def test_a_late_instance_changes_the_key_of_the_order(archive: Archive, orthanc: Settings) -> None:
    keys = []
    for number in (1, 1, 2):
        archive.store_file(as_file(image(PIXELS, number)))
        (order,) = work.orders(archive.read_study(archive.list_study_ids()[0]), orthanc)
        keys.append(order.key)
        assert order.kind == "catalogue"
    assert keys[0] == keys[1] != keys[2]
    assert keys[0].startswith(f"catalogue/{ROOT}.1/")


def test_a_series_that_left_the_archive_leaves_the_catalogue(job: Job, archive: Archive, database: Database) -> None:
    archive.store_file(as_file(image(PIXELS, 1)))
    archive.store_file(as_file(image(PIXELS, 2, SeriesInstanceUID=f"{ROOT}.1.2")))
    job()
    gone = next(
        s for s in archive.read_study(archive.list_study_ids()[0]).series if s.series_instance_uid == f"{ROOT}.1.2"
    )
    archive.delete_series(gone.series_id)
    assert job()["removed"] == 1
    with database.reading() as session:
        assert read_catalogue_counts(session) == CatalogueCounts(1, 1, 1, 1)


def test_a_deleted_study_is_removed_by_its_job(
    job: Job, archive: Archive, database: Database, orthanc: Settings
) -> None:
    archive.store_file(as_file(image(PIXELS, 1)))
    job()
    study = archive.read_study(archive.list_study_ids()[0])
    (order,) = work.orders(study, orthanc)
    archive.delete_series(study.series[0].series_id)
    assert work.run(FakeTask(orthanc, archive, database, order.args))["removed"] == 1
    with database.reading() as session:
        assert read_catalogue_counts(session) == CatalogueCounts()


def test_the_change_log_is_read_from_its_cursor(
    archive: Archive, orthanc: Settings, database: Database, options: Options
) -> None:
    archive.store_file(as_file(image(PIXELS, 1)))
    follower = ArchiveFollower(orthanc, archive, database, options)
    follower.catch_up()
    before = follower.cursor.read()
    assert before > 0
    assert follower.catch_up().items_done == 0
    archive.store_file(as_file(image(PIXELS, 2, StudyInstanceUID=f"{ROOT}.2", SeriesInstanceUID=f"{ROOT}.2.1")))
    assert follower.catch_up().added == 1
    assert follower.cursor.read() > before
    with database.reading() as session:
        assert read_catalogue_counts(session) == CatalogueCounts(1, 2, 2, 2)
    assert remove_instances_missing_from_archive(archive, database) == 0
    for study_id in archive.list_study_ids():
        archive.delete_series(archive.read_study(study_id).series[0].series_id)
    assert remove_instances_missing_from_archive(archive, database) == 2


def test_an_error_leaves_the_cursor_where_it_was(
    archive: Archive, orthanc: Settings, database: Database, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = ArchiveFollower(orthanc, archive, database, options)
    follower.catch_up()
    before = follower.cursor.read()
    archive.store_file(as_file(image(PIXELS, 1)))

    def away(*_: object) -> bytes:
        raise ArchiveUnreachable("Orthanc does not answer.")

    with monkeypatch.context() as broken:
        broken.setattr(Archive, "read_file", away)
        with pytest.raises(ArchiveUnreachable):
            follower.catch_up()
    assert follower.cursor.read() == before
    assert follower.catch_up().added == 1


def test_a_copy_in_a_folder_gives_way_to_the_archive(
    archive: Archive, job: Job, run: Callable[..., Any], source: Path, database: Database
) -> None:
    data = as_file(image(PIXELS, 1))
    (source / "a").write_bytes(data)
    assert run().added == 1
    archive.store_file(data)
    assert job()["rejected"] == 0
    with database.reading() as session:
        assert session.scalars(select(Instance.source)).one().startswith("archive:")
        assert read_catalogue_counts(session).images == 1


def invoke(settings: Settings, monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str) -> int:
    """`minipacs etl …` as a person types it, against this archive."""
    monkeypatch.setenv("MINIPACS_HOME", str(home))
    monkeypatch.setenv("MINIPACS_ORTHANC_PORT", str(settings.orthanc_port))
    monkeypatch.setenv("MINIPACS_ORTHANC_PASSWORD", "x")
    return main(["etl", *arguments])


def test_the_command_takes_a_study_a_series_the_log_and_rebuilds(
    archive: Archive, orthanc: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    archive.store_file(as_file(image(PIXELS, 1)))
    archive.store_file(as_file(image(PIXELS, 2, SeriesInstanceUID=f"{ROOT}.1.2")))
    added = []
    for arguments in (["--series", f"{ROOT}.1.2"], ["--study", f"{ROOT}.1"], ["--prune"], ["--rebuild"]):
        assert invoke(orthanc, monkeypatch, tmp_path, *arguments, "--json") == 0
        added.append(json.loads(capsys.readouterr().out)["added"])
    assert added == [1, 1, 0, 2]
    assert invoke(orthanc, monkeypatch, tmp_path, "--study", "1.2.3") == 1
    assert "has no study 1.2.3" in capsys.readouterr().err
    assert command.HELP
    with pytest.raises(NotInArchive):
        archive.find_study_id("1.2.3")
