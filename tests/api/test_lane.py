"""The fast lane answers as the application does, and only what it may."""

import sqlite3
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

STUDY, SERIES, ODD = "1.2.3.4.1", "1.2.3.4.1.1", "A/B 50%-ü"
PATHS = [
    *(f"/{level}/count" for level in ("patients", "studies", "series", "images")),
    *(f"/patients/{quote(ODD, safe='')}/{what}" for what in ("counts", "studycount", "seriescount", "imagecount")),
    "/patients/P1",
    f"/patients/{quote(ODD)}",
    f"/series/{SERIES}",
    f"/images/{SERIES}.1",
]


def refuse(*_: Any) -> Any:
    """No application behind the lane."""
    raise AssertionError("the lane did not answer")


@pytest.mark.parametrize("path", PATHS)
def test_the_lane_answers_what_the_application_answers(
    app: Flask, viewer: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = viewer(path)  # the token is not proven yet
    monkeypatch.setattr(app.wsgi_app, "_beyond", refuse)
    second = viewer(path)
    assert second.status_code == first.status_code == 200
    assert second.data == first.data
    assert sorted(second.headers) == sorted(first.headers)


@pytest.mark.parametrize(
    "path", ["/patients/nobody", "/patients/P1/studies", "/images/x/png", "/series/1/2", "/images/"]
)
def test_what_the_lane_does_not_know_goes_on(app: Flask, viewer: Any, path: str) -> None:
    viewer("/patients/count")
    before = viewer(path)
    assert before.status_code in (200, 404)
    assert before.status_code == 200 or "error" in before.get_json()


def test_the_lane_does_not_answer_a_token_it_does_not_know(app: Flask, viewer: Any) -> None:
    viewer("/patients/count")
    viewer.headers = {"Authorization": "Bearer mp_wrong"}
    assert viewer("/patients/count").status_code == 401
    viewer.headers = {}
    assert viewer("/patients/count").status_code == 401


def test_a_look_at_a_patient_is_in_the_audit_without_a_name_in_its_path(app: Flask, viewer: Any, admin: Any) -> None:
    viewer("/patients/count")
    viewer(f"/patients/{quote(ODD, safe='')}/counts")
    entries = admin(f"/audit?patient={quote(ODD)}").get_json()["entries"]
    assert [(e["action"], e["path"], e["patient_key"]) for e in entries] == [("view", "patients.counts", ODD)]


def test_a_database_that_broke_is_told_by_the_application(app: Flask, viewer: Any) -> None:
    viewer("/patients/count")

    def broken(*_: Any) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    reader = app.extensions["minipacs"].quick
    reader._connection = broken
    answer = viewer("/images/count")
    assert answer.status_code == 503
    assert answer.get_json()["error"]["code"] == "catalogue_unavailable"
