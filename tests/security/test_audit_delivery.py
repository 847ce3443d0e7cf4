"""Delivery of the audit: no entry, spool or process keeps those of others from the database."""

import random
import string
import time
from typing import Any

import pytest
from flask import Flask

from minipacs.audit.audit_log import AuditLog
from minipacs.audit.entry import NewEntry
from minipacs.audit.verification import verify_chain
from minipacs.database import Database
from minipacs.settings import Settings
from tests.security.test_audit import STUDY, new_entries, read_entries
from tests.api.conftest import admin, app, caller, settings, viewer  # noqa: F401  # fixtures

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
