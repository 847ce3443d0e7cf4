"""The audit is complete: every act and every look has its entry, whatever ends, fills up or fails meanwhile."""

import gzip
import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from api import create_app
from api.auth import accounts
from minipacs.audit import spool
from minipacs.audit.audit_log import AuditLog
from minipacs.audit.entry import AuditEntry, NewEntry
from minipacs.database import Database
from minipacs.jobs.queue import JobQueue
from minipacs.settings import Settings
from route_walk import PATIENT, STUDY, addresses_of, body_of, walk_routes
from tests.api.conftest import admin, app, caller, kind, settings, viewer  # noqa: F401  # fixtures

NOTHING_DISCLOSED = {
    "login.login_form", "login.account_page", "sessions.show_own_login", "sessions.report_use",
    "sessions.list_own_sessions", "openid.start_openid_login", "openid.redirect_to_provider_logout",
    "patients.patient_count", "studies.study_count", "series.series_count",
    "images.image_count", "export.totals_by_modality", "upload.upload_form", "engines.engines",
    "prompts.prompt_engines", "prompts.terminology", "rules.rules", "health.liveness", "health.readiness",
    "metrics.metrics", "openapi.openapi_document", "docs.docs_page", "older_prompts.health_check",
}  # fmt: skip
"""Routes that show neither patients nor accounts: numbers of all, forms, what is installed, whether all is well."""
STATIC_FILES = {"static", "ohif.viewer_file", "scene.niivue_module", "scene.three_module", "welcome.favicon"}
STUDIES_OF = {PATIENT: ("1.2.3.4.1", "1.2.3.4.2"), "A/B 50%-ü": ("1.2.3.4.3",)}
STUDY_UID = re.compile(r"1\.2\.3\.4\.[123](?![0-9])")
"""A study of the catalogue of these tests, or a UID that begins with its UID."""


def read_entries(database: Database) -> list[AuditEntry]:
    """The whole audit, the oldest first."""
    with database.reading() as session:
        found = list(session.scalars(select(AuditEntry).order_by(AuditEntry.id)))
        session.expunge_all()
    return found


def new_entries(app: Flask, after: int) -> list[AuditEntry]:
    """The entries of this process with a higher number."""
    app.extensions["minipacs_audit"].flush()
    return [entry for entry in read_entries(app.extensions["minipacs"].database) if entry.id > after]


def read_body(answer: Any) -> str:
    """The text of an answer, of the first event of a stream."""
    if answer.mimetype == "text/event-stream":
        pieces = answer.iter_encoded()
        text = "".join(next(pieces).decode() for _ in range(2))
        answer.close()
        return text
    data = answer.get_data()
    answer.close()
    if answer.headers.get("Content-Encoding") == "gzip":
        data = gzip.decompress(data)
    return str(data.decode("utf-8", "replace")) if answer.mimetype not in ("application/gzip",) else ""


def test_every_route_is_audited_or_says_that_it_discloses_nothing(app: Flask) -> None:
    silent = {rule.endpoint for rule, _, description in walk_routes(app) if description.discloses_nothing}
    bare = {rule.endpoint for rule, _, description in walk_routes(app) if not description.is_described}
    assert silent == NOTHING_DISCLOSED
    assert bare == STATIC_FILES


def test_every_answer_leaves_an_entry_that_names_the_studies_it_shows(app: Flask) -> None:
    database = app.extensions["minipacs"].database
    token = {"Authorization": f"Bearer {accounts.create_token(database, 'walk', 'admin')}"}
    client, last, shown = app.test_client(), 0, 0
    share = client.post("/shares", json={"files": [f"{STUDY}/1.2.3.4.1.1/slicer/model.glb"]}, headers=token).get_json()
    for rule, method, description in walk_routes(app):
        if not description.is_described or description.discloses_nothing:
            continue
        paths = [share["url"].partition("//")[2].partition("/")[2]] if "<token>" in rule.rule else addresses_of(rule)
        for path in paths:
            last = max((entry.id for entry in new_entries(app, last)), default=last)
            headers = {**token, "Accept": "text/html" if description.page else "*/*"}
            answer = client.open("/" + path.lstrip("/"), method=method, headers=headers, **body_of(description))
            body = read_body(answer)
            noted = new_entries(app, last)
            assert noted, (method, path)
            assert {entry.status for entry in noted} == {answer.status_code}, (method, path)
            if answer.status_code < 300 and rule.endpoint != "audit.audit_entries":
                named = {uid for entry in noted for uid in (entry.study_instance_uid, *entry.studies.split())}
                patients = {key for entry in noted for key in (entry.patient_key, *entry.patients.split("\n"))}
                named |= {uid for key in patients for uid in STUDIES_OF.get(key or "", ())}
                assert set(STUDY_UID.findall(body)) <= named, (method, path)
                shown += bool(STUDY_UID.search(body))
    assert shown > 25


def test_a_search_leaves_what_was_asked_and_whom_it_showed(app: Flask, viewer: Any) -> None:
    viewer("/studies?PatientName=" + "Odd*")
    viewer("/patients")
    searched, listed = new_entries(app, 0)
    assert (searched.action, searched.query, searched.disclosed) == ("search", "PatientName=Odd*", 1)
    assert (searched.study_instance_uid, searched.patient_key) == ("1.2.3.4.3", "A/B 50%-ü")
    assert (listed.disclosed, set(listed.patients.split("\n"))) == (2, {PATIENT, "A/B 50%-ü"})


def test_the_audit_is_found_by_a_study_that_was_shown_among_others(app: Flask, admin: Any, viewer: Any) -> None:
    viewer("/studies")
    found = admin("/audit?study=1.2.3.4.2&action=search").get_json()["entries"]
    assert [(entry["user"], entry["path"]) for entry in found] == [("token:a viewer", "/studies")]
    assert admin("/audit?study=1.2.3.4&action=search").get_json()["entries"] == []


ACTS = 40
KILLED = """
import os, signal, sys
from api import create_app
from api.auth import accounts
from minipacs.settings import Settings
settings = Settings.from_env()
app = create_app(settings)
token = accounts.create_token(app.extensions["minipacs"].database, "killed", "admin")
client = app.test_client()
headers = {"Authorization": f"Bearer {token}"}
for number in range(int(sys.argv[1])):
    client.post(f"/jobs/{number + 1}/cancel", headers=headers)
    client.get(f"/studies/1.2.3.{number}", headers=headers)
    client.get(f"/studies/1.2.3.0", headers=headers)
if sys.argv[2] == "within":
    from minipacs.jobs.queue import JobQueue
    JobQueue.get = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    client.post("/jobs/7/retry", headers=headers)
os.kill(os.getpid(), signal.SIGKILL)
"""


def run_and_kill(settings: Settings, how: str) -> None:
    """A front door that answers `ACTS` acts and looks and is killed: afterwards, or within one more act."""
    environment = {**os.environ, **settings.as_environment()}
    done = subprocess.run([sys.executable, "-c", KILLED, str(ACTS), how], env=environment, check=False)
    assert done.returncode == -9


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_killed_front_door_loses_no_entry(settings: Settings) -> None:
    run_and_kill(settings, "afterwards")
    database = Database(settings.database_url)
    log = AuditLog(database, settings.home)
    log.deliver_abandoned()
    log.deliver_abandoned()  # a second time finds nothing
    entries = read_entries(database)
    assert [e.path for e in entries if e.action == "job"] == [f"/jobs/{n + 1}/cancel" for n in range(ACTS)]
    looks = {n: sum(e.count for e in entries if e.path == f"/studies/1.2.3.{n}") for n in range(ACTS)}
    assert looks == {0: ACTS + 1, **dict.fromkeys(range(1, ACTS), 1)}
    assert not [path for path in (settings.home / "audit").iterdir() if path.suffix in (".jsonl",)]
    database.close()


def test_an_act_that_was_cut_off_stands_there_as_interrupted(settings: Settings) -> None:
    run_and_kill(settings, "within")
    database = Database(settings.database_url)
    AuditLog(database, settings.home).deliver_abandoned()
    assert [(e.action, e.path, e.status) for e in read_entries(database)][-1] == ("job", "/jobs/7/retry", 0)
    database.close()


def test_what_cannot_be_noted_is_not_done_and_not_answered(
    app: Flask,
    admin: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(spool.os, "write", refuse)
        act, look = admin("/jobs/1/cancel", "POST"), admin("/studies/1.2.3.4.1")
        assert (act.status_code, look.status_code) == (503, 503)
        assert act.get_json()["error"]["code"] == look.get_json()["error"]["code"] == "audit_unavailable"
        assert "Odd" not in look.get_data(as_text=True)
        assert admin("/healthz").status_code == 200
    assert JobQueue(app.extensions["minipacs"].database).get(1).state == "queued"
    assert admin("/jobs/1/cancel", "POST").status_code == 200
    assert [(e.action, e.status) for e in new_entries(app, 0)] == [("job", 200)]


def test_more_than_any_queue_held_waits_on_disk_and_arrives(settings: Settings, database: Database) -> None:
    log = AuditLog(database, settings.home)
    log._start_thread = lambda: None  # type: ignore[method-assign]  # nothing is delivered meanwhile
    entry = NewEntry(
        at=time.time(), user="u", by="token", address="", action="download", method="GET", path="/" + "x" * 300
    )
    for _ in range(40_000):
        log.add(entry, is_durable=False)
    assert len(spool.list_spool_files(settings.home / "audit", log._spool.name)) > 1
    log.flush()
    log.close()
    assert len(read_entries(database)) == 40_000


def test_a_name_that_no_database_holds_stops_no_other_entry(app: Flask, viewer: Any) -> None:
    client = app.test_client()
    client.get(
        "/studies/%00%ed%a0%80?q=%00%ed%a0%80",
        auth=("\ud800\x00".encode("utf-8", "surrogatepass").decode("latin1"), "x"),
    )
    client.post("/login", data={"user": "\x00e", "password": "x"})
    viewer(f"/studies/{STUDY}")
    assert new_entries(app, 0)[-1].study_instance_uid == STUDY


def test_no_look_counts_as_the_repeat_of_one_that_named_another_study(app: Flask, viewer: Any) -> None:
    for named in ("1.2.3.4.2", "1.2.3.4.3"):
        for _ in range(3):
            viewer(f"/studies/{STUDY}?StudyInstanceUID={named}")
    noted = new_entries(app, 0)
    assert {tuple(entry.studies.split()) for entry in noted} == {(STUDY, "1.2.3.4.2"), (STUDY, "1.2.3.4.3")}
    assert sum(entry.count for entry in noted) == 6


def test_failed_logins_and_refusals_stand_there_each_with_its_number(app: Flask, viewer: Any) -> None:
    stranger: FlaskClient = app.test_client()
    for _ in range(3):
        assert stranger.get("/studies").status_code == 401
    assert stranger.get("/studies", headers={"Accept": "text/html"}).status_code == 302
    assert stranger.post("/login", data={"user": "eve", "password": "x"}).status_code == 401
    assert viewer("/jobs/1/cancel", "POST").status_code == 403
    noted = new_entries(app, 0)
    counted = {(e.user, e.method, e.status): 0 for e in noted}
    for entry in noted:
        assert entry.action == "failure"
        counted[entry.user, entry.method, entry.status] += entry.count
    assert counted == {
        ("nobody", "GET", 401): 3,
        ("nobody", "GET", 302): 1,
        ("eve", "POST", 401): 1,
        ("token:a viewer", "POST", 403): 1,
    }


def test_two_front_doors_write_one_chain_without_a_gap(app: Flask, settings: Settings, admin: Any) -> None:
    second = create_app(settings)
    token = admin.headers
    for _ in range(5):
        admin("/jobs/1/cancel", "POST")
        second.test_client().post("/jobs/1/cancel", headers=token)
        second.extensions["minipacs_audit"].flush()
        app.extensions["minipacs_audit"].flush()
    entries = read_entries(app.extensions["minipacs"].database)
    assert [e.id for e in entries] == list(range(1, 11))
    assert len({e.mac for e in entries}) == 10
    second.extensions["minipacs_audit"].close()
    second.extensions["minipacs"].close()
