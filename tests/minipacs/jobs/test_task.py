"""What a worker makes of the end of a job: which errors cost an attempt, and which do not."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minipacs.database import Database
from minipacs.errors import ArchiveUnreachable, EngineFailed, MinipacsError, Unreadable
from minipacs.jobs import task as task_module
from minipacs.jobs import worker_secrets
from minipacs.jobs.contract import Order
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import Job
from minipacs.jobs.task import RunningTask, run_job
from minipacs.settings import Settings
from waiting import FOREVER_S, PATIENCE_S, until


class Broken:
    """Work that raises what the test gave it."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def run(self, _task: object) -> dict[str, Any]:
        if self.errors:
            raise self.errors.pop(0)
        return {"summary": "done"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"MINIPACS_HOME": str(tmp_path)})


def after(settings: Settings, monkeypatch: pytest.MonkeyPatch, *errors: Exception, database: Database) -> Job:
    """The row of a job after it was run once with this work."""
    monkeypatch.setattr(task_module, "kinds_of_work", lambda: {"segment": Broken(*errors)})
    jobs = JobQueue(database)
    with database.writing() as session:
        jobs.submit(session, Order("segment", "key", "1.2.3"))
    (row,) = jobs.find_jobs_of_study("1.2.3")
    run_job(settings, row.id)
    return jobs.get(row.id)


def full() -> Exception:
    error = MinipacsError("PNGs cannot be written.")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


@pytest.mark.parametrize("error", [ArchiveUnreachable("Orthanc does not answer.", "Start it."), full()])
def test_what_is_not_the_jobs_fault_costs_no_attempt(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    job = after(settings, monkeypatch, error, database=database)
    assert (job.state, job.attempt) == ("queued", 0)
    assert job.note.startswith("Waiting: ")
    assert job.error == ""


def test_a_failure_costs_an_attempt_and_waits(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = after(settings, monkeypatch, EngineFailed("It crashed."), database=database)
    assert (job.state, job.attempt, job.error) == ("queued", 1, "It crashed.")
    assert job.not_before > (job.started or 0)


def test_what_another_attempt_would_repeat_fails_at_once(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = after(settings, monkeypatch, Unreadable("It is no volume."), database=database)
    assert (job.state, job.attempt) == ("failed", 1)


def test_a_programming_error_is_a_sentence_for_people_and_a_trace_for_us(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = after(settings, monkeypatch, ValueError("private"), database=database)
    assert job.error == "An unexpected ValueError ended the job."
    assert "private" in job.detail


DEAF = """
import sys, time
from minipacs.jobs import task
from minipacs.settings import Settings

class Deaf:
    def run(self, task):
        time.sleep(float(sys.argv[2]))

task.STOP_TIMEOUT_S = 1.0
task.kinds_of_work = lambda: {"segment": Deaf()}
task.run_job(Settings.from_env(), int(sys.argv[1]))
"""


def test_work_that_does_not_hear_its_cancellation_is_ended_with_its_process(
    settings: Settings, database: Database
) -> None:
    jobs = JobQueue(database)
    with database.writing() as session:
        jobs.submit(session, Order("segment", "key", "1.2.3"))
    environment = {**os.environ, **settings.as_environment()}
    with subprocess.Popen([sys.executable, "-c", DEAF, "1", str(FOREVER_S)], env=environment) as worker:
        until(lambda: jobs.get(1).state == "running")
        jobs.cancel(1)
        assert worker.wait(PATIENCE_S) == 1
    assert jobs.get(1).state == "cancelled"


def test_a_job_that_comes_without_secrets_has_those_of_its_worker(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Settings] = []

    class Look:
        def run(self, task: RunningTask) -> dict[str, Any]:
            seen.append(task.settings)
            return {}

    monkeypatch.setattr(task_module, "kinds_of_work", lambda: {"segment": Look()})
    monkeypatch.setattr(worker_secrets, "_kept", {})
    own = replace(settings, database_url=str(database.engine.url), orthanc_password="of the worker")
    worker_secrets.keep_worker_secrets(own)
    with database.writing() as session:
        JobQueue(database).submit(session, Order("segment", "key", "1.2.3"))
    (row,) = JobQueue(database).find_jobs_of_study("1.2.3")

    assert run_job(replace(settings, engine="of the service").without_secrets(), row.id) == "done"
    assert [(s.engine, s.orthanc_password) for s in seen] == [("of the service", "of the worker")]
