"""The doctor where nothing runs, and on one broken part after the other."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from minipacs import cli
from minipacs.database import Database
from minipacs.doctor import machine_checks, work_checks
from minipacs.doctor.finding import Finding
from minipacs.jobs.record import Job
from minipacs.notifications.outbox import Notifier
from minipacs.settings import Settings
from ports import free_ports
from stack import settings_for

FAR = 2**31


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a folder of its own, where nothing runs."""
    return settings_for(tmp_path)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The database of these settings, with every table."""
    database = Database(settings.database_url)
    database.upgrade_schema()
    yield database
    database.close()


def add_job(database: Database, **values: object) -> None:
    fixed = {"key": "k", "kind": "catalogue", "study_instance_uid": "1.2", "args": {}, "needs": "cpu", "priority": 0}
    with database.writing() as session:
        session.add(Job(**{**fixed, "attempt_limit": 3, "created": 0.0, **values}))


def findings(settings: Settings) -> dict[str, Finding]:
    return dict(machine_checks.run_checks(settings))


def test_where_nothing_runs_the_exit_code_and_the_remedy_say_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    for part in ("archive", "dicomweb", "dicom", "job service", "front door"):
        assert f"failed   {part:13s}" in said
    assert said.count("scripts/up") >= 5
    assert not (settings.home / "catalogue.sqlite").exists(), "a look changes nothing"


def test_a_misspelt_setting_is_named(settings: Settings) -> None:
    found = machine_checks.check_settings(settings, {"MINIPACS_WORKRES": "3", "MINIPACS_WORKERS": "3"})
    assert found.state == "warning"
    assert "MINIPACS_WORKRES" in found.seen


def test_a_home_that_cannot_be_made_is_named(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert machine_checks.check_home(replace(settings, home=tmp_path / "file" / "home")).state == "failed"


def test_what_others_can_open_is_named(settings: Settings) -> None:
    settings.home.chmod(0o700)
    assert machine_checks.check_home(settings).state == "ok"
    (settings.home / "secrets.json").write_text("{}")
    (settings.home / "secrets.json").chmod(0o644)
    found = machine_checks.check_home(settings)
    assert str(settings.home / "secrets.json") in found.seen
    assert "chmod -R go=" in found.remedy


def test_an_env_file_with_secrets_that_others_can_read_is_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".env"
    file.write_text("MINIPACS_ADMIN_PASSWORD=secret words\n")
    file.chmod(0o644)
    found = machine_checks.check_settings(settings)
    assert (found.state, found.remedy) == ("warning", "chmod 600 .env")
    assert "secret words" not in found.seen

    file.chmod(0o600)
    assert machine_checks.check_settings(settings).remedy != "chmod 600 .env"


def test_root_is_warned_about(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert machine_checks.check_user(settings).state == "warning"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert machine_checks.check_user(settings).state == "ok"


def test_a_full_disk_is_named(settings: Settings) -> None:
    assert machine_checks.check_disk(replace(settings, reserve_mb=FAR)).state == "failed"


def test_a_missing_viewer_and_a_missing_engine_are_named(settings: Settings, tmp_path: Path) -> None:
    assert machine_checks.check_viewer(replace(settings, ohif=tmp_path / "no")).state == "failed"
    assert "no such engine" in machine_checks.check_engines(replace(settings, engine="nobody")).seen


def test_an_orthanc_that_is_not_installed_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "find_binary", lambda: None)
    monkeypatch.setattr(machine_checks, "PLUGIN_FOLDERS", ())
    assert (
        machine_checks.check_orthanc_installation(settings).remedy
        == "apt-get install orthanc orthanc-dicomweb orthanc-python"
    )


def test_a_database_that_is_away_older_or_newer_is_named(settings: Settings, database: Database) -> None:
    away = replace(settings, database_url="postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=2")
    assert findings(away)["database"].state == "failed"
    assert work_checks.check_database(settings).state == "ok"
    for number, state in (("0000", "warning"), ("9999", "failed")):
        with database.writing() as session:
            session.execute(text(f"UPDATE alembic_version SET version_num = '{number}'"))
        assert work_checks.check_database(settings).state == state


def test_a_failed_job_is_a_warning_with_the_command_that_tells_why(settings: Settings, database: Database) -> None:
    add_job(database, state="failed")
    found = work_checks.check_queue(settings)
    assert (found.state, found.seen) == ("warning", "1 failed")
    assert "--state failed" in found.remedy


def test_a_job_that_waits_long_is_a_warning(settings: Settings, database: Database) -> None:
    add_job(database, state="queued")
    assert "waits for" in work_checks.check_queue(settings).seen


def test_a_job_whose_worker_fell_silent_is_a_failure(settings: Settings, database: Database) -> None:
    add_job(database, state="running", lease_until=1.0)
    assert work_checks.check_queue(settings).state == "failed"


def test_notifications_that_nobody_takes_are_named(settings: Settings, database: Database) -> None:
    notified = replace(settings, webhook_url="http://127.0.0.1:9/", database_url=database.url)
    notifier = Notifier(notified, database)
    notifier.fill_outbox()
    with database.writing() as session:
        session.execute(text("UPDATE notification_watermark SET first = 0"))
    add_job(database, state="failed", finished=1.0)
    with database.writing() as session:
        session.execute(text("UPDATE notification_watermark SET seen = 0"))
    assert notifier.fill_outbox() == 1
    assert work_checks.check_notifications(notified).state == "ok"
    notifier.deliver_due()
    assert "does not answer" in work_checks.check_notifications(notified).seen
    assert "no receiver is set" in work_checks.check_notifications(settings).seen


def test_a_scheduler_that_is_away_or_has_no_workers_is_named(settings: Settings) -> None:
    from distributed import LocalCluster

    away = work_checks.check_scheduler(replace(settings, scheduler=f"tcp://127.0.0.1:{free_ports(1)[0]}"))
    assert (away.state, "MINIPACS_SCHEDULER" in away.remedy) == ("failed", True)
    loopback = {"protocol": "tcp://", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=0, processes=False, **loopback) as cluster:
        assert "no workers" in work_checks.check_scheduler(replace(settings, scheduler=cluster.scheduler_address)).seen
