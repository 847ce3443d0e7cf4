"""What broke a limit is looked at again when that limit is raised: by itself, once, and it alone."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text

from dicom_objects import ROOT, as_file, image
from etl import command, work
from etl.extract import ARCHIVE_PREFIX
from etl.rendering import png_files
from minipacs.archive.client import ChangePage
from minipacs.archive.content import InstanceContent, SeriesContent, StudyContent
from minipacs.catalogue import Instance, Rejection, Rendering
from minipacs.database import Database
from minipacs.errors import SettingsError
from minipacs.jobs import planner, task
from minipacs.jobs.planner import Planner
from minipacs.jobs.record import Job
from minipacs.jobs.task import run_job
from minipacs.memory import size_limits
from minipacs.memory.size_limits import apply_size_limits, check_object_size
from minipacs.settings import Settings
from postgres import new_database
from stack import settings_for

SMALL = np.arange(20 * 24, dtype=np.uint16).reshape(20, 24)
LARGE_OBJECT = np.zeros((900, 700), np.uint16)
"""1.2 MB, which are read as they are: only the object counts."""
LARGE_FRAME = np.zeros((800, 600, 3), np.uint8)
"""1.4 MB of colour, which a decoder takes apart."""
STUDY_ID = "a"


class OneStudy:
    """An archive of one study, as the planner and the worker ask it."""

    def __init__(self, files: Iterable[bytes]) -> None:
        self.files = {f"{STUDY_ID}-{number}": file for number, file in enumerate(files)}
        uids = tuple(InstanceContent(f"{ROOT}.1.1.{number + 1}", key) for number, key in enumerate(self.files))
        series = SeriesContent("s", f"{ROOT}.1.1", "CT", "", "", uids)
        self.study = StudyContent(STUDY_ID, f"{ROOT}.1", (series,))

    def read_changes(self, _since: int) -> ChangePage:
        """Nothing happens."""
        return ChangePage((), 0, done=True)

    def list_study_ids(self) -> list[str]:
        """One."""
        return [STUDY_ID]

    def find_ids(self, _level: str, _uid: str) -> list[str]:
        """Of the study."""
        return [STUDY_ID]

    def find_parent_studies(self, resource_ids: Iterable[str]) -> set[str]:
        """The study, of each of its instances."""
        return {STUDY_ID for resource in resource_ids if resource in self.files}

    def read_study(self, _study_id: str) -> StudyContent:
        """The study."""
        return self.study

    def list_instance_ids(self) -> list[str]:
        """All."""
        return list(self.files)

    def read_file(self, instance_id: str) -> bytes:
        """A file, whose length is looked at first."""
        check_object_size(len(self.files[instance_id]))
        return self.files[instance_id]

    def close(self) -> None:
        """Nothing to close."""


class Product:
    """The job service and its worker, started anew with other settings whenever it is asked to work."""

    def __init__(self, database: Database, settings: Settings, archive: OneStudy) -> None:
        self.database, self.settings, self.archive = database, settings, archive

    def start_and_work(self, **limits: int) -> int:
        """Plan as a service does that has just started, and do all jobs; how many there were."""
        settings = replace(self.settings, **limits)
        apply_size_limits(settings)
        Planner(settings, self.archive, self.database).step()  # type: ignore[arg-type]
        with self.database.reading() as session:
            queued = list(session.scalars(select(Job.id).where(Job.state == "queued")))
        for job in queued:
            assert run_job(settings, job) == "done"
        return len(queued)

    def rejections(self) -> list[tuple[str, str]]:
        """Code and sentence of each."""
        with self.database.reading() as session:
            return [(row.code, row.reason) for row in session.scalars(select(Rejection).order_by(Rejection.source))]

    def sources(self, table: Any) -> set[str]:
        """Sources of the instances that have a row, or a picture."""
        with self.database.reading() as session:
            found = select(Instance.source)
            if table is Rendering:
                found = found.where(
                    Instance.sop_instance_uid.in_(select(Rendering.sop_instance_uid)),
                )
            return {source.removeprefix(ARCHIVE_PREFIX) for source in session.scalars(found)}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty catalogue on SQLite, and on PostgreSQL."""
    with new_database(request.param, tmp_path) as empty:
        yield empty


@pytest.fixture
def product(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Product]:
    """Make a product whose archive has these objects."""

    def make(*datasets: Any) -> Product:
        archive = OneStudy([as_file(dataset) for dataset in datasets])
        monkeypatch.setattr(size_limits, "_applied", list(size_limits._applied))
        monkeypatch.setattr(planner, "kinds_of_work", lambda: {"catalogue": work})
        monkeypatch.setattr(task, "_open_archive", lambda _settings: archive)
        monkeypatch.setattr(task, "_open_database", lambda _url: database)
        monkeypatch.setattr("minipacs.archive.client.Archive", lambda _settings: archive)
        settings = replace(settings_for(tmp_path), database_url=database.url, output=tmp_path / "output", quiet_s=1)
        return Product(database, settings, archive)

    return make


@pytest.mark.parametrize(
    ("pixels", "limit", "code"), [(LARGE_OBJECT, "object_mb", "too_large"), (LARGE_FRAME, "frame_mb", "no_picture")]
)
def test_what_was_too_large_is_catalogued_with_its_picture_when_the_limit_is_raised(
    product: Callable[..., Product], pixels: Any, limit: str, code: str
) -> None:
    running = product(image(SMALL, 1), image(pixels, 2))
    running.start_and_work(**{limit: 1})
    ((found, sentence),) = running.rejections()
    assert found == code
    assert "MB of memory" in sentence
    assert running.sources(Rendering) == {"a-0"}

    assert running.start_and_work(**{limit: 1}) == 0
    assert running.start_and_work(**{limit: 3}) == 1

    assert running.rejections() == []
    assert running.sources(Rendering) == {"a-0", "a-1"}
    assert running.start_and_work(**{limit: 30}) == 0


def test_an_object_of_endless_frames_is_rejected_alone_and_has_its_pictures_when_the_limit_is_raised(
    product: Callable[..., Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=10.0)
    monkeypatch.setattr(png_files, "monotonic", lambda: next(clock))  # a frame takes 10 s
    running = product(image(SMALL, 1), image(np.stack([SMALL] * 9), 2), image(SMALL + 1, 3))

    running.start_and_work(render_limit_s=50)
    assert running.rejections() == [("too_slow", "Its pictures take longer than 50 s.")]
    assert running.sources(Instance) == {"a-0", "a-1", "a-2"}
    assert running.sources(Rendering) == {"a-0", "a-2"}

    running.start_and_work(render_limit_s=500)
    assert running.rejections() == []
    assert running.sources(Rendering) == {"a-0", "a-1", "a-2"}


def test_no_time_at_all_is_refused() -> None:
    with pytest.raises(SettingsError, match="MINIPACS_RENDER_LIMIT_S must be a number of seconds"):
        Settings.from_env({"MINIPACS_RENDER_LIMIT_S": "0"})


def test_what_is_still_too_large_is_looked_at_once_for_each_raise(product: Callable[..., Product]) -> None:
    running = product(image(np.zeros((2000, 1600), np.uint16), 1))
    assert [running.start_and_work(object_mb=megabytes) for megabytes in (1, 2, 2, 1, 2, 3)] == [1, 1, 0, 0, 0, 1]
    ((code, sentence),) = running.rejections()
    assert code == "too_large"
    assert "may take 3 MB" in sentence


def test_a_worker_with_less_memory_than_the_service_thinks_is_not_asked_again_and_again(
    product: Callable[..., Product], database: Database
) -> None:
    running = product(image(LARGE_OBJECT, 1))
    running.start_and_work(object_mb=1)
    for expected in (1, 0):
        apply_size_limits(replace(running.settings, object_mb=1))  # the worker's, on another machine
        settings = replace(running.settings, object_mb=8)
        Planner(settings, running.archive, database).step()  # type: ignore[arg-type]
        with database.reading() as session:
            queued = list(session.scalars(select(Job.id).where(Job.state == "queued")))
        assert len(queued) == expected
        for job in queued:
            run_job(settings, job)


def test_other_faults_are_not_looked_at_again_when_a_limit_is_raised(product: Callable[..., Product]) -> None:
    running = product(image(SMALL, 1, PixelData=b"\0\0"))
    running.start_and_work(object_mb=1, frame_mb=1)
    assert [code for code, _sentence in running.rejections()] == ["no_picture"]
    assert running.start_and_work(object_mb=9, frame_mb=9) == 0


def test_the_etl_command_looks_at_what_broke_a_limit_that_was_raised(
    product: Callable[..., Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = product(image(LARGE_OBJECT, 1))
    running.start_and_work(object_mb=1)
    parser = command.argparse.ArgumentParser()
    command.configure(parser)
    monkeypatch.setattr(running.archive, "read_changes", lambda _since, _limit=0: ChangePage((), 0, done=True))

    settings = replace(running.settings, object_mb=3)
    apply_size_limits(settings)
    assert command.run(parser.parse_args([]), settings) == 0

    assert running.rejections() == []
    assert running.sources(Rendering) == {"a-0"}


def test_an_older_versions_rejections_for_a_size_are_looked_at_once_more(tmp_path: Path) -> None:
    with new_database("sqlite", tmp_path) as empty:
        url = empty.url.replace("catalogue", "older")
    older = Database(url)
    older.upgrade_schema("0008")
    remedy = "If it is meant to be so large, raise MINIPACS_OBJECT_MB, on a machine that has the memory."
    with older.writing() as session:
        insert = text("INSERT INTO rejection (source, code, reason, remedy) VALUES ('x', 'too_large', 'r', :remedy)")
        session.execute(insert, {"remedy": remedy})
    older.upgrade_schema()
    with older.reading() as session:
        row = session.scalars(select(Rejection)).one()
        assert (row.limit_setting, row.limit_value) == ("MINIPACS_OBJECT_MB", 0)
    older.close()
