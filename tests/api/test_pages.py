"""Pages: escaped, under a strict policy, useful when empty; jobs live; the API described by itself."""

import csv
import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from api import create_app
from api.web.disclosed import Disclosure
from api.work.job_events import stream_job_events
from minipacs.jobs.record import Job

STUDY, SERIES = "1.2.3.4.1", "1.2.3.4.1.1"
PAGES = ["/", "/studies", f"/studies/{STUDY}", "/jobs", "/jobs/1", "/files", "/upload", "/admin", "/audit", "/docs",
         f"/studies/{STUDY}/3d/{SERIES}/slicer", "/account", "/output/P1/", "/studies?q=nothing+matches"]  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both databases."""
    return str(request.param)


@pytest.fixture
def page(admin: Any) -> Callable[[str], str]:
    """A page as an administrator's browser gets it."""

    def get(path: str) -> str:
        answer = admin(path, headers={"Accept": "text/html"})
        assert answer.status_code == 200, path
        assert answer.mimetype == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'self'" in policy
        return str(answer.get_data(as_text=True))

    return get


@pytest.mark.parametrize("path", PAGES)
def test_every_page_escapes_what_dicom_says_and_bears_no_inline_code(page: Callable[[str], str], path: str) -> None:
    html = page(path)
    assert "<script>alert" not in html
    assert " style=" not in html
    assert " onclick=" not in html
    assert "https://" not in html.replace("https://github.com", "")


def test_a_name_with_a_script_is_shown_as_text(page: Callable[[str], str]) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;^Ünïcödé" in page("/studies")
    assert "&lt;script&gt;" in page(f"/studies/{STUDY}")
    assert "&lt;img src=x&gt;" in page("/studies?q=<img src=x>")


def test_an_empty_house_says_what_to_do(settings: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    app = create_app(replace(settings, home=tmp_path / "other", database_url=f"sqlite:///{tmp_path / 'other.sqlite'}"))
    from api.auth import accounts

    token = accounts.create_token(app.extensions["minipacs"].database, "t", "admin")
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
    assert "C-STORE" in app.test_client().get("/", headers=headers).get_data(as_text=True)
    app.extensions["minipacs"].close()


def test_a_job_is_told_cancelled_and_retried(operator: Any) -> None:
    job = operator("/jobs").get_json()["jobs"][0]
    assert {"id", "kind", "study", "state", "stage", "percent", "note", "error", "created"} <= set(job)
    assert operator("/jobs/1/cancel", "POST").get_json()["state"] == "cancelled"
    assert operator("/jobs/1/retry", "POST").get_json()["state"] == "queued"
    assert operator("/jobs/1/retry", "POST").status_code == 400
    assert operator("/jobs?state=queued").get_json()["counts"]["queued"] == 1
    assert operator("/jobs/99999999999999/cancel", "POST").status_code == 404


def test_changes_of_jobs_are_streamed(app: Flask) -> None:
    events = stream_job_events(app.extensions["minipacs"], Disclosure())
    assert next(events).startswith("retry")
    event = next(events)
    assert event.startswith("event: job\ndata: ")
    assert json.loads(event.partition("data: ")[2])["state"] == "queued"
    events.close()


def test_readiness_says_what_is_missing(viewer: Any) -> None:
    answer = viewer("/readyz")
    assert answer.status_code == 503
    checks = answer.get_json()["checks"]
    assert checks["database"] == "ok"
    assert "Orthanc does not answer" in checks["archive"]


def test_metrics_are_prometheus_text(viewer: Any) -> None:
    text = viewer("/metrics").get_data(as_text=True)
    assert 'minipacs_catalogue{level="images"} 6' in text
    assert 'minipacs_jobs{state="queued"} 1' in text


def test_metrics_tell_how_long_jobs_take_by_stage(app: Flask, viewer: Any) -> None:
    with app.extensions["minipacs"].database.writing() as session:
        now = time.time()
        fixed = {
            "study_instance_uid": "1.2",
            "args": {},
            "needs": "cpu",
            "priority": 0,
            "attempt_limit": 3,
            "created": now - 9,
        }
        for number, took in enumerate((2.0, 4.0)):
            result = {"seconds": {"volume": took / 2}}
            times = {"started": now - 5, "finished": now - 5 + took}
            session.add(Job(key=f"m{number}", kind="segment", state="done", result=result, **times, **fixed))
        session.add(Job(key="m9", kind="segment", state="failed", started=now - 5, finished=now - 4, **fixed))
    text = viewer("/metrics").get_data(as_text=True)
    assert 'minipacs_jobs_ended_last_hour{kind="segment",state="failed"} 1' in text
    assert 'minipacs_job_seconds{kind="segment",stage="waiting",of="mean"} 4.0' in text
    assert 'minipacs_job_seconds{kind="segment",stage="running",of="longest"} 4.0' in text
    assert 'minipacs_job_seconds{kind="segment",stage="volume",of="mean"} 1.5' in text


def test_every_route_stands_in_the_description(app: Flask, viewer: Any) -> None:
    document = viewer("/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    identifiers = [entry["operationId"] for methods in document["paths"].values() for entry in methods.values()]
    assert len(identifiers) == len(set(identifiers))
    for path, methods in document["paths"].items():
        for entry in methods.values():
            assert entry["summary"], path
            named = {p["name"] for p in entry["parameters"] if p["in"] == "path"}
            assert all(f"{{{name}}}" in path for name in named)
    assert "/patients/{patient_id}/counts" in document["paths"]


def test_what_was_done_stands_in_the_audit_and_nothing_can_change_it(app: Flask, admin: Any) -> None:
    admin(f"/studies/{STUDY}")
    admin(f"/studies/{STUDY}")
    admin(f"/results/{STUDY}/{SERIES}/slicer/model.glb")
    app.test_client().get("/jobs")
    app.test_client().post("/login", data={"user": "eve", "password": "x"})
    entries = admin("/audit").get_json()["entries"]
    acts = [(e["user"], e["action"], e["study_instance_uid"], e["patient_key"]) for e in entries]
    assert acts.count(("token:a admin", "view", STUDY, "P1")) == 2  # the first look, and the one that repeats it
    assert ("token:a admin", "download", STUDY, "P1") in acts
    assert ("eve", "failure", None, None) in acts
    assert ("nobody", "failure", None, None) in acts
    assert admin("/audit", "DELETE").status_code == 405
    rows = list(csv.DictReader(admin("/audit?format=csv").get_data(as_text=True).splitlines()))
    assert {"token:a admin", "eve", "nobody"} <= {row["user"] for row in rows}
    assert all(abs(datetime.fromisoformat(row["at"]).timestamp() - time.time()) < 600 for row in rows)
    assert [e["user"] for e in admin("/audit?user=eve").get_json()["entries"]] == ["eve"]


def test_logs_bear_no_names(app: Flask, admin: Any, caplog: pytest.LogCaptureFixture) -> None:
    for path in PAGES:
        admin(path, headers={"Accept": "text/html"})
    admin("/studies?q=Odd")
    assert "Odd" not in caplog.text
    assert "alert" not in caplog.text
