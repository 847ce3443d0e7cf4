"""Look-ups by key: what they answer, what they leave in the audit, and what happens when the database breaks."""

from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

STUDY, SERIES, ODD = "1.2.3.4.1", "1.2.3.4.1.1", "A/B 50%-ü"
PICTURE = "0b6f6c3e-5f0e-5f0e-8f0e-000000000001"


def test_totals_are_those_of_the_catalogue(viewer: Any) -> None:
    for level, name in (("patients", "patient_count"), ("studies", "study_count"), ("series", "series_count")):
        answer = viewer(f"/{level}/count").get_json()
        assert answer == {name: len(viewer(f"/{level}").get_json()[level])}


def test_a_patients_counts_agree_one_by_one_and_together(viewer: Any) -> None:
    patient = f"/patients/{quote(ODD, safe='')}"
    together = viewer(f"{patient}/counts").get_json()
    assert set(together) == {"patient_id", "study_count", "series_count", "image_count"}
    assert viewer(f"{patient}/studycount").get_json() == {
        "patient_id": ODD,
        "study_count": together["study_count"],
    }
    assert viewer(f"{patient}/seriescount").get_json()["series_count"] == together["series_count"]
    assert viewer(f"{patient}/imagecount").get_json()["images_count"] == together["image_count"]


def test_a_study_holds_its_patient_and_its_series(viewer: Any) -> None:
    study = viewer(f"/studies/{STUDY}").get_json()
    assert study["StudyInstanceUID"] == STUDY
    assert study["patient"] == viewer(f"/patients/{study['patient']['PatientID']}").get_json()
    assert SERIES in [series["SeriesInstanceUID"] for series in study["series"]]


def test_an_instance_holds_its_renderings(viewer: Any) -> None:
    instance = viewer(f"/images/{SERIES}.1").get_json()
    assert instance["SOPInstanceUID"] == f"{SERIES}.1"
    assert PICTURE in [rendering["rendering_id"] for rendering in instance["renderings"]]


def test_where_files_lie_on_our_disk_is_not_shown(viewer: Any) -> None:
    for path in (f"/images/{SERIES}.1", f"/imageinfo/train/CT/{PICTURE}.png"):
        assert not {"source", "png_path", "rendered_with"} & set(viewer(path).get_json())


def test_a_look_at_a_patient_is_in_the_audit_without_a_name_in_its_path(viewer: Any, admin: Any) -> None:
    viewer(f"/patients/{quote(ODD, safe='')}/counts")
    entries = admin(f"/audit?patient={quote(ODD)}").get_json()["entries"]
    assert [(e["action"], e["path"], e["patient_key"]) for e in entries] == [("view", "patients.counts", ODD)]


class Broken(OperationalError):
    """What SQLAlchemy raises for a database that broke, or for a connection that was closed."""

    def __init__(self, *, invalidated: bool) -> None:
        super().__init__("SELECT", {}, Exception("disk I/O error"), connection_invalidated=invalidated)


def test_a_database_that_broke_is_unavailable(app: Flask, viewer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer("/patients/count")

    def broken(*_: Any) -> Any:
        raise Broken(invalidated=False)

    monkeypatch.setattr(app.extensions["minipacs"].database, "_select", broken)
    answer = viewer("/images/count")
    assert answer.status_code == 503
    assert answer.get_json()["error"]["code"] == "catalogue_unavailable"


def test_a_connection_that_the_server_closed_is_replaced(
    app: Flask, viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = app.extensions["minipacs"].database
    select, closed = database._select, [True]

    def closed_once(*arguments: Any) -> Any:
        if closed and closed.pop():
            raise Broken(invalidated=True)
        return select(*arguments)

    monkeypatch.setattr(database, "_select", closed_once)
    assert viewer("/images/count").status_code == 200
    assert not closed
