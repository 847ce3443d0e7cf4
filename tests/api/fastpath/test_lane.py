"""The fast lane answers as the application does, and only what it may."""

import sqlite3
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

STUDY, SERIES, ODD = "1.2.3.4.1", "1.2.3.4.1.1", "A/B 50%-ü"
PICTURE = "0b6f6c3e-5f0e-5f0e-8f0e-000000000001"
PATHS = [
    *(f"/{level}/count" for level in ("patients", "studies", "series", "images")),
    *(f"/patients/{quote(ODD, safe='')}/{what}" for what in ("counts", "studycount", "seriescount", "imagecount")),
    "/patients/P1",
    f"/patients/{quote(ODD)}",
    f"/series/{SERIES}",
    f"/images/{SERIES}.1",
    f"/studies/{STUDY}",
    f"/imageinfo/train/CT/{PICTURE}.png",
    f"/results/{STUDY}/{SERIES}/slicer/model.glb",
    f"/results/{STUDY}/{SERIES}/slicer/labels.nii.gz",
    f"/results/{STUDY}/{SERIES}/slicer/labels.json",
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
    assert sorted(h for h in second.headers if h[0] != "Date") == sorted(h for h in first.headers if h[0] != "Date")


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


def test_a_range_of_a_file_is_the_applications(viewer: Any) -> None:
    path = f"/results/{STUDY}/{SERIES}/slicer/model.glb"
    whole = viewer(path)
    assert viewer(path, headers={"Range": "bytes=0-3"}).data == b"glTF"
    assert viewer(path, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("path", ["../../home/session_key", f"{STUDY}/../../../session_key", "/etc/passwd", ".", ""])
def test_the_lane_reaches_no_file_outside(viewer: Any, path: str) -> None:
    viewer("/patients/count")
    assert viewer("/results/" + quote(path)).status_code in (308, 404)  # 308: slashes are merged


def test_a_session_takes_the_lane_until_its_password_changes(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = app.test_client()
    client.post("/login", data={"user": "admin", "password": "the admin's own"})
    assert client.get("/patients/count").status_code == 200
    with monkeypatch.context() as without:
        without.setattr(app.wsgi_app, "_beyond", refuse)
        assert client.get("/patients/P1").status_code == 200
    client.delete_cookie("minipacs")
    assert client.get("/patients/P1").status_code == 401
