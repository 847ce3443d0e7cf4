"""Who takes more memory than the machine can spare gets a sentence; the worker, the others and the machine go on."""

import io
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from etl.extract import MAX_FETCHES_AHEAD, ArchiveReader
from etl.records import SourceItem
from minipacs.archive import client
from minipacs.database import Database
from minipacs.errors import EngineExceedsMemory, EngineFailed, ExceedsMemory, SettingsError
from minipacs.formats.parsing import translate_parser_errors
from minipacs.jobs import task as task_module
from minipacs.jobs.contract import Order
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.task import run_job
from minipacs.memory import machine_memory, process_limit, size_limits
from minipacs.memory.size_limits import derive_size_limits
from minipacs.settings import ROOT, Settings
from segmentation.job import child, memory_errors, parent
from segmentation.job.request import SegmentationRequest
from waiting import PATIENCE_S

GB = 2**30
MB = 2**20


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"MINIPACS_HOME": str(tmp_path)})


@pytest.fixture
def machine_of_4_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory(monkeypatch, 4 * GB)


def set_memory(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    for module in (process_limit, size_limits):
        monkeypatch.setattr(module, "read_memory_bytes", lambda: memory)


def run_python(code: str) -> str:
    """What a process of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_process_that_passes_its_limit_gets_a_memory_error_and_goes_on() -> None:
    code = (
        "from minipacs.memory.process_limit import limit_own_memory\n"
        "limit_own_memory(100 * 2**20)\n"
        "import numpy\n"
        "try: numpy.ones(2**30, numpy.uint8)\n"
        "except MemoryError: print('refused', int(numpy.ones(2**20).sum()))\n"
    )
    assert run_python(code) == "refused 1048576"


def test_what_a_limited_process_starts_has_the_limit_too_and_may_lift_it() -> None:
    code = (
        "import subprocess, sys\n"
        "from minipacs.memory.process_limit import lift_memory_limit, limit_own_memory\n"
        "limit_own_memory(100 * 2**20)\n"
        "take = [sys.executable, '-c', 'len(bytearray(2**29))']\n"
        "print(subprocess.run(take, stderr=subprocess.DEVNULL).returncode)\n"
        "print(subprocess.run(take, preexec_fn=lift_memory_limit).returncode)\n"
    )
    assert run_python(code).split() == ["1", "0"]


class OutOfMemory:
    """Work that takes more than there is."""

    def run(self, _task: object) -> dict[str, Any]:
        raise MemoryError


def test_a_job_without_memory_fails_once_in_plain_words(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_module, "kinds_of_work", lambda: {"segment": OutOfMemory()})
    jobs = JobQueue(database)
    with database.writing() as session:
        jobs.submit(session, Order("segment", "key", "1.2.3"))
    (row,) = jobs.find_jobs_of_study("1.2.3")
    run_job(replace(settings, database_url=str(database.engine.url)), row.id)
    job = jobs.get(row.id)
    assert (job.state, job.attempt) == ("failed", 1)
    assert job.error.startswith("The work needs more memory than")
    assert "MINIPACS_WORKERS" in job.hint


class ArchiveOfLargeInstances:
    """An archive whose first answer is too large beside the others, which last until it is asked for again."""

    def __init__(self, _settings: Settings) -> None:
        self.running: set[str] = set()
        self.beside: dict[str, set[str]] = {}
        """What was still being fetched when an instance was asked for the last time."""
        self.all_have_begun = threading.Barrier(MAX_FETCHES_AHEAD)
        self.is_retried = threading.Event()

    def read_file(self, instance_id: str) -> bytes:
        is_first_time = instance_id not in self.beside and not self.is_retried.is_set()
        if instance_id == "0" and not is_first_time:
            self.is_retried.set()
        self.beside[instance_id] = set(self.running)
        self.running.add(instance_id)
        try:
            if is_first_time:
                self.all_have_begun.wait(PATIENCE_S)
                if instance_id == "0":
                    raise MemoryError
                self.is_retried.wait(0.5)
            return instance_id.encode()
        finally:
            self.running.remove(instance_id)

    def close(self) -> None:
        """There is nothing to close."""


def test_instances_too_large_together_are_fetched_one_after_the_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = ArchiveOfLargeInstances(settings)
    monkeypatch.setattr(client, "Archive", lambda _settings: archive)
    names = [str(number) for number in range(MAX_FETCHES_AHEAD + 2)]
    read = list(ArchiveReader(settings).read([SourceItem(name) for name in names]))
    assert [(item.source, data) for item, data in read] == [(name, name.encode()) for name in names]
    assert archive.beside == {name: set() for name in names}


def test_a_parser_without_memory_is_not_called_a_broken_file() -> None:
    with pytest.raises(ExceedsMemory), translate_parser_errors("The file is broken"):
        raise MemoryError


@pytest.mark.usefixtures("machine_of_4_gb")
def test_workers_archive_and_services_of_a_small_machine_fit_in_it(settings: Settings) -> None:
    assert process_limit.compute_worker_bytes(settings) == GB
    assert process_limit.compute_archive_bytes(settings) == 1536 * MB
    assert process_limit.compute_worker_bytes(replace(settings, worker_memory_mb=700)) == 700 * MB
    assert process_limit.compute_engine_bytes(settings) == 2 * GB


@pytest.mark.parametrize(("memory_gb", "largest_mb"), [(2, 128), (4, 298), (8, 810), (16, 1834)])
def test_the_archive_has_room_for_the_objects_that_the_documentation_promises(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, memory_gb: int, largest_mb: int
) -> None:
    set_memory(monkeypatch, memory_gb * GB)
    without_objects = process_limit.compute_archive_bytes(settings) - 640 * MB
    assert without_objects // 3 // MB == largest_mb
    assert largest_mb * MB <= derive_size_limits(settings).object_bytes
    assert process_limit.compute_archive_bytes(replace(settings, object_mb=1)) == GB
    documented = (ROOT / "docs" / "security.md").read_text("utf-8")
    assert f"| {memory_gb} GB | {largest_mb} MB |" in documented


def test_an_engine_that_takes_more_than_its_share_ends_when_hardly_any_memory_is_left(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SegmentationRequest(files=[], digest="", engine="slicer", out=Path())
    monkeypatch.setattr(parent, "read_memory_bytes", lambda: 4 * GB)
    for module in (parent, memory_errors):
        monkeypatch.setattr(module, "compute_engine_bytes", lambda _settings: 2 * GB)
    monkeypatch.setattr(parent, "compute_worker_bytes", lambda _settings: GB)

    monkeypatch.setattr(parent, "read_available_bytes", lambda: GB)
    parent._check_memory(request, settings, 1500, "segment")
    with pytest.raises(EngineExceedsMemory, match=r"took more than 2048 MB.*It is not tried again"):
        parent._check_memory(request, settings, 2100, "segment")

    monkeypatch.setattr(parent, "read_available_bytes", lambda: 100 * MB)
    parent._check_memory(request, settings, 900, "segment")
    with pytest.raises(parent.EngineFailed, match=r"its share is 1024 MB.*It is tried again"):
        parent._check_memory(request, settings, 1500, "segment")


def test_the_child_and_its_parent_have_one_limit(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting below what any process needs was the child's 512 MB, and the parent's as it stood."""
    request = SegmentationRequest(files=[], digest="", engine="slicer", out=Path())
    small = replace(settings, engine_memory_mb=100)
    limits: list[int] = []
    monkeypatch.setattr(child, "limit_own_memory", limits.append)
    monkeypatch.setattr(child, "parse_request", lambda _line: (request, small))
    monkeypatch.setattr(child, "_kill_group_when_parent_ends", lambda: None)
    monkeypatch.setattr(child, "run_request", lambda *_: {})
    monkeypatch.setattr(child.os, "dup2", lambda *_: None)
    monkeypatch.setattr(child.os, "dup", lambda stream: stream)
    monkeypatch.setattr(child.os, "fdopen", lambda *_, **_options: io.StringIO())
    monkeypatch.setattr(child.sys, "stdin", io.StringIO("{}"))

    assert child.main() == 0
    (limit,) = limits
    parent._check_memory(request, small, limit // MB, "segment")
    with pytest.raises(EngineExceedsMemory):
        parent._check_memory(request, small, limit // MB + 1, "segment")


def fail_in_child(error: Exception, settings: Settings) -> Exception:
    """What the parent raises for an error of the child's."""
    request = SegmentationRequest(files=[], digest="", engine="sam", out=Path())
    try:
        raise error
    except Exception as raised:
        message = child._explain_failure(raised, request, settings, "segment")
    return parent._parse_error(message.as_json()["error"])


def raise_from(cause: Exception, error: Exception) -> Exception:
    """An error with this cause."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried 4 GB"),
        RuntimeError("std::bad_alloc"),
        raise_from(MemoryError(), EngineFailed("The engine broke.")),
        process_limit.explain_memory_error(),
    ],
)
def test_an_engine_without_memory_fails_for_good_however_it_says_so(settings: Settings, error: Exception) -> None:
    failure = fail_in_child(error, settings)
    assert isinstance(failure, task_module.PERMANENT_ERRORS)


@pytest.mark.parametrize("error", [EngineFailed("It crashed."), RuntimeError("Shapes differ."), ValueError("No.")])
def test_an_engine_that_fails_otherwise_is_tried_again(settings: Settings, error: Exception) -> None:
    failure = fail_in_child(error, settings)
    assert not isinstance(failure, task_module.PERMANENT_ERRORS)


@pytest.mark.parametrize("version", ["memory.max", "memory.limit_in_bytes"])
def test_the_memory_of_a_container_counts_where_it_is_less(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / version).write_text(f"{2 * GB}\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / version).write_text("max\n")
    monkeypatch.setattr(machine_memory, "_find_cgroup_folders", lambda: (tmp_path / "inner", tmp_path))
    machine_memory.read_memory_bytes.cache_clear()
    try:
        assert machine_memory.read_memory_bytes() == 2 * GB
    finally:
        machine_memory.read_memory_bytes.cache_clear()


def test_limits_of_the_settings_come_before_those_of_the_machine() -> None:
    assert derive_size_limits(Settings(object_mb=3)).object_bytes == 3 * MB


def test_a_negative_amount_of_memory_is_refused() -> None:
    with pytest.raises(SettingsError, match="MINIPACS_FRAME_MB must be a number of MB"):
        Settings.from_env({"MINIPACS_FRAME_MB": "-1"})


def test_a_machine_of_4_gb_survives_every_bomb() -> None:
    """In a process of its own, which has the memory cgroup; by every way in without `--one-way-each`."""
    command = [
        sys.executable,
        "-m",
        "security.objects.attack_with_bombs",
        "--one-way-each",
        "--health-s",
        str(PATIENCE_S),
    ]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Broken promises: none." in done.stdout
