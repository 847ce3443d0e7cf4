"""Delivery of the audit: no entry, spool or process keeps those of others from the database."""

import os
import random
import string
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from minipacs import temporary_folders
from minipacs.audit import audit_log, delivery, forwarding, spool
from minipacs.audit.audit_log import AuditLog
from minipacs.audit.delivery import SpoolDelivery
from minipacs.audit.entry import NewEntry
from minipacs.audit.forwarding import AuditForwarder
from minipacs.audit.verification import verify_chain
from minipacs.catalogue import Patient, Study
from minipacs.database import Database
from minipacs.notifications import outbox
from minipacs.notifications.outbox import Notifier
from minipacs.settings import Settings
from tests.api.conftest import admin, app, caller, settings, viewer  # noqa: F401  # fixtures
from tests.security.audit.test_audit import STUDY, new_entries, read_entries
from waiting import until

RANDOM = random.Random(14)
LETTERS = "".join(RANDOM.choices(string.ascii_letters, k=7000))
"""A value that PostgreSQL's index refuses; random, since it compresses values before it measures them."""
LONG_UID = "1.2.3." + "".join(RANDOM.choices(string.digits, k=7000))


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(app: Flask) -> Database:
    return app.extensions["minipacs"].database


def entry(**values: Any) -> NewEntry:
    """An entry of an act, with these values."""
    others = {"at": time.time(), "user": "u", "by": "token", "address": "", "action": "job", "method": "POST"}
    return NewEntry(**{**others, "path": "/", **values})


def test_names_that_are_too_long_for_an_index_stop_no_other_entry(app: Flask, viewer: Any) -> None:
    stranger = app.test_client()
    assert stranger.get(f"/patients/{LETTERS}").status_code == 401
    assert stranger.get(f"/studies/{LONG_UID}").status_code == 401
    assert stranger.get("/studies", query_string={"StudyInstanceUID": LONG_UID}).status_code == 401
    assert stranger.get("/jobs", auth=(LETTERS, "x")).status_code == 401
    viewer(f"/studies/{STUDY}")
    noted = new_entries(app, 0)
    assert noted[-1].study_instance_uid == STUDY
    assert [one.patient_key for one in noted if one.patient_key in (LETTERS, LETTERS[:512])] == [LETTERS[:512]]
    assert {one.study_instance_uid for one in noted} == {None, STUDY}


def test_a_spool_with_names_that_are_too_long_is_delivered(database: Database, settings: Settings) -> None:
    log = AuditLog(database, settings.home, delivers=False)
    log.add(entry(user=LETTERS, patients=(LETTERS,), uids=(LONG_UID,)))
    log.add(entry(user="later"))
    log.close()
    assert [one.user for one in read_entries(database)] == [LETTERS[:512], "later"]
    assert verify_chain(database, settings.home).broken is None


def test_an_entry_that_the_database_refuses_stops_no_other(database: Database, settings: Settings) -> None:
    log = AuditLog(database, settings.home, delivers=False)
    for user, path in (("before", "/"), ("refused", "/\0" + LETTERS), ("after", "/")):
        log.add(entry(user=user, path=path))
    log.close()
    noted = {one.user: one.path for one in read_entries(database)}
    assert list(noted) == ["before", "refused", "after"]
    assert noted["refused"].replace("\0", "?").startswith("/?" + LETTERS[:100])
    assert verify_chain(database, settings.home).broken is None


def leave_spool(database: Database, settings: Settings, user: str) -> None:
    """The spool of a process that ended before its entry was delivered."""
    log = AuditLog(database, settings.home, delivers=False)
    log.add(entry(user=user))
    log.close(delivering=False)


def leave_unreadable_spool(settings: Settings) -> str:
    """A spool that nobody can read, and that comes before all others."""
    name = "0" * 32
    spool.spool_file(settings.home / "audit", name, 1).mkdir(parents=True)
    (settings.home / "audit" / f"{name}.lock").touch()
    return name


def test_a_spool_that_cannot_be_delivered_stops_no_other_and_is_logged_once(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    name = leave_unreadable_spool(settings)
    leave_spool(database, settings, "ended")
    log = AuditLog(database, settings.home, delivers=False)
    log.deliver_abandoned()
    log.deliver_abandoned()
    assert [one.user for one in read_entries(database)] == ["ended"]
    assert caplog.text.count(f"spool {name} cannot be delivered") == 1


def test_what_others_left_stops_no_entry_of_this_process(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "deliver_abandoned_spools", fail)
    log = AuditLog(database, settings.home)
    log.add(entry(user="own"))
    until(lambda: [one.user for one in read_entries(database)] == ["own"])
    log.close()


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("a fault that nobody thought of")


def test_lock_files_of_another_user_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, open_file = "0" * 32, os.open
    (tmp_path / f"{name}.lock").touch()
    (tmp_path / f".partial-{name}.lock").touch()
    (tmp_path / f"{'1' * 32}.lock").touch()

    def refuse(path: Path, *rest: int) -> int:
        """What the system answers to everybody but root."""
        if name in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    assert [found for _, found in spool.lock_abandoned_spools(tmp_path)] == ["1" * 32]
    temporary_folders.delete_abandoned_folders(tmp_path)
    assert (tmp_path / f".partial-{name}.lock").exists()


def fail_first(stop: threading.Event) -> Any:
    """Fails at the first call, and ends the loop at the second."""
    calls: list[int] = []

    def step(*_: object) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a fault that nobody thought of")
        stop.set()
        return 0

    return step


def test_a_fault_that_nobody_thought_of_ends_no_thread(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "STEP_INTERVAL_S", 0.0)
    monkeypatch.setattr(outbox, "POLL_INTERVAL_S", 0.0)
    forwarder, notifier = AuditForwarder(settings, database), Notifier(settings, database)

    forwarder_ends, notifier_ends = threading.Event(), threading.Event()
    monkeypatch.setattr(forwarder, "send", fail_first(forwarder_ends))
    monkeypatch.setattr(notifier, "fill_outbox", fail_first(notifier_ends))
    forwarder.run(forwarder_ends)
    notifier.run(notifier_ends)
    assert forwarder_ends.is_set()
    assert notifier_ends.is_set()


def test_what_is_written_while_the_audit_is_closed_is_not_lost(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(database, settings.home, delivers=False)
    remove = SpoolDelivery.remove

    def write_and_remove(delivered: SpoolDelivery) -> None:
        """A request ends just before the delivered files are deleted."""
        monkeypatch.undo()
        log.add(entry(user="meanwhile"))
        remove(delivered)

    monkeypatch.setattr(SpoolDelivery, "remove", write_and_remove)
    log.add(entry(user="first"))
    log.close()
    log.close()
    assert [one.user for one in read_entries(database)] == ["first", "meanwhile"]
    assert [path.name for path in (settings.home / "audit").iterdir() if path.suffix == ".jsonl"] == []


def add_looks(log: AuditLog, uid: str, times: int) -> None:
    """So many looks at one study."""
    for _ in range(times):
        look = entry(action="view", method="GET", path=f"/studies/{uid}", uids=(uid,), is_look=True)
        log.add_look(("u", uid), look.at, lambda look=look: look)


def test_repeats_of_a_look_that_are_delivered_at_once_are_looked_up_once(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(database, settings.home, delivers=False)
    find_reached, asked = delivery.find_reached, []

    def note(session: Any, entries: Any) -> Any:
        entries = list(entries)
        asked.append(len(entries))
        return find_reached(session, entries)

    monkeypatch.setattr(delivery, "find_reached", note)
    add_looks(log, STUDY, 50)
    add_looks(log, "1.2.3.4.2", 50)
    log.flush()
    assert [(one.study_instance_uid, one.count) for one in read_entries(database)] == [
        (STUDY, 1), ("1.2.3.4.2", 1), (STUDY, 49), ("1.2.3.4.2", 49)
    ]  # fmt: skip
    assert max(asked) == 2
    log.close()


def test_a_study_that_came_between_two_looks_is_named_by_the_second(database: Database, settings: Settings) -> None:
    log = AuditLog(database, settings.home, delivers=False)
    add_looks(log, "1.2.3.4.9", 3)
    log.flush()
    with database.writing() as session:
        session.add(Patient(patient_key="came later", patient_id="came later"))
        session.flush()
        session.add(Study(study_key="key", study_instance_uid="1.2.3.4.9", patient_key="came later"))
    add_looks(log, "1.2.3.4.9", 3)
    log.flush()
    assert [(one.patient_key, one.count) for one in read_entries(database)] == [
        (None, 1), (None, 2), ("came later", 1), ("came later", 2)
    ]  # fmt: skip
    log.close()
