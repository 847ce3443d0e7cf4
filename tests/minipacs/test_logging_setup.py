"""Log lines for machines: one JSON object each, with the job at hand, without a patient's name."""

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minipacs import logging_setup
from minipacs.database import Database
from minipacs.errors import SettingsError
from minipacs.jobs.contract import Order
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.task import run_job
from minipacs.settings import Settings
from stack import settings_for

log = logging.getLogger("minipacs.test")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path, log_format="json")


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_an_object_and_names_the_job_at_hand(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    logging_setup.set_up(settings)
    with logging_setup.log_context(job=7, kind="segment"):
        log.info("study %s", "1.2.3")
    log.warning("two\nlines")
    first, second = said(capsys)
    assert (first["message"], first["job"], first["kind"], first["level"]) == ("study 1.2.3", 7, "segment", "info")
    assert second["message"] == "two\nlines"
    assert "job" not in second


def test_the_words_of_an_exception_stay_out(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    logging_setup.set_up(settings)
    try:
        raise ValueError("PatientName Doe^Jane is not latin-1")
    except ValueError:
        log.exception("reading failed")
    (line,) = said(capsys)
    assert line["exception"] == "ValueError"
    assert Path(__file__).name in str(line["places"])
    assert "Doe" not in json.dumps(line)


def test_a_job_says_how_it_ended_and_how_long_each_stage_took(
    settings: Settings, database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from minipacs.jobs import task

    monkeypatch.setitem(sys.modules, "kind_of_test", sys.modules[__name__])
    monkeypatch.setattr(task, "kinds_of_work", lambda: {"probe": sys.modules[__name__]})
    logging_setup.set_up(settings)
    jobs = JobQueue(database)
    with database.writing() as session:
        jobs.submit(session, Order(key="k", kind="probe", study_instance_uid="1.2", args={}))
    assert run_job(replace(settings, database_url=database.url), 1) == "done"
    (line,) = [line for line in said(capsys) if line["logger"] == "minipacs.jobs.task"]
    assert (line["job"], line["attempt"]) == (1, 1)
    assert str(line["message"]).endswith("done")
    seconds = jobs.get(1).result["seconds"]  # type: ignore[index]
    assert set(seconds) == {"start", "look", "work"}
    assert all(value >= 0 for value in seconds.values())


def run(running: object) -> dict[str, object]:
    """The work of the job above."""
    for stage in ("look", "work", "look"):
        running.progress(stage)  # type: ignore[attr-defined]
    return {"summary": "looked"}


def test_another_format_is_refused() -> None:
    with pytest.raises(SettingsError, match="text or json"):
        Settings.from_env({"MINIPACS_LOG_FORMAT": "xml"})
