"""A home folder that version 0.1.0 made opens and works with the present code.

`fixtures/make_old_home.py` says how it was made and what it holds. Nothing here needs an archive;
`integration/test_old_home.py` starts the whole product on it.
"""

import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from api import create_app
from minipacs.archive.content import InstanceContent, SeriesContent, StudyContent
from minipacs.catalogue import Instance, Series, lookup
from minipacs.database import Database
from minipacs.jobs.claimed_job import ClaimedJob
from minipacs.jobs.contract import kinds_of_work
from minipacs.jobs.leases import JobLeases
from minipacs.jobs.queue import JobQueue
from minipacs.notifications.outbox import Notifier
from minipacs.settings import describe_settings
from minipacs.tables import Base
from old_home import STUDY, OldHome, unpack
from segmentation.engines.ct_mr.engine import CtMrEngine
from segmentation.identity import Identity, digest_parameters

CT, MR, NEW = f"{STUDY}.1", f"{STUDY}.2", f"{STUDY}.3"
RESULT = f"{CT}/{CT}.1/slicer"
SEG = "2.25.187544857230715459081204464011431863115"
KEYS = {
    "catalogue CT": f"catalogue/{CT}/76f3266122fa7527a8f17d7b5e1c9118",
    "catalogue MR": f"catalogue/{MR}/02cf54827bc9bd0c821a48a1de6a4d4c",
    "segment CT": f"segment/{CT}/ee3baf40b149d74bcfbf9db0782828d4/slicer/2/440758bb97fc02e8",
    "segment MR": f"segment/{MR}/02cf54827bc9bd0c821a48a1de6a4d4c/slicer/2/440758bb97fc02e8",
    "segment CT by a person": f"segment/{CT}/ee3baf40b149d74bcfbf9db0782828d4/slicer/2/-",
}


@pytest.fixture
def old(tmp_path: Path) -> OldHome:
    return unpack(tmp_path)


@pytest.fixture
def database(old: OldHome) -> Iterator[Database]:
    database = Database(old.settings.database_url)
    database.upgrade_schema()
    yield database
    database.close()


@pytest.fixture
def app(old: OldHome) -> Iterator[Flask]:
    app = create_app(old.settings)
    yield app
    app.extensions["minipacs_audit"].close()
    app.extensions["minipacs"].close()


@pytest.fixture
def client(app: Flask, old: OldHome) -> FlaskClient:
    """A client with the old script's token."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {old.token}"
    client.environ_base["HTTP_ACCEPT"] = "application/json"
    return client


def content(database: Database, study: str) -> StudyContent:
    """What the archive held of a study, as the catalogue tells it."""
    with database.reading() as session:
        assert lookup.find_study(session, study) is not None
        series = [
            SeriesContent("", s.series_instance_uid, s.modality or "", s.manufacturer or "", "", tuple(instances))
            for s in session.scalars(select(Series).where(Series.study_instance_uid == study))
            if (
                instances := [
                    InstanceContent(uid, "")
                    for uid in session.scalars(
                        select(Instance.sop_instance_uid).where(Instance.series_instance_uid == s.series_instance_uid)
                    )
                ]
            )
        ]
    return StudyContent("", study, tuple(series))


def orders(old: OldHome, study: StudyContent, kind: str) -> list[str]:
    return [order.key for order in kinds_of_work()[kind].orders(study, old.settings)]


# -- settings, tables -------------------------------------------------------------------------------
def test_every_setting_of_the_old_version_is_read(old: OldHome) -> None:
    names = {name.removeprefix("MINIPACS_").lower() for name in old.environment}
    assert len(names) == 51
    assert names - {"doorbell"} <= set(describe_settings())
    settings = old.settings
    assert (settings.home, settings.output) == (old.home, old.home / "output")
    assert (settings.http_port, settings.orthanc_port, settings.dicom_port) == (18080, 18042, 14242)
    assert (settings.stable_age_s, settings.quiet_s, settings.poll_s) == (2, 4, 0.3)
    assert (settings.stable_study_address, settings.prompts) == ("127.0.0.1:18043", "127.0.0.1:18044")
    assert (settings.engine, settings.notify_on) == ("slicer", "done,failed")


def test_the_old_database_gets_the_tables_of_today(database: Database) -> None:
    for point in entry_points(group="minipacs.tables"):
        import_module(point.value)
    with database.engine.connect() as connection:
        assert not compare_metadata(MigrationContext.configure(connection), Base.metadata)


def test_no_row_is_lost(old: OldHome, database: Database) -> None:
    manifest = json.loads((old.backup / "manifest.json").read_text("utf-8"))
    connection = sqlite3.connect(old.home / "catalogue.sqlite")
    found = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in manifest["rows"]}
    connection.close()
    assert found == manifest["rows"]
    assert (found["instance"], found["job"], found["rendering"], found["notification"]) == (19, 9, 17, 6)


# -- the front door ---------------------------------------------------------------------------------
def test_counts(client: FlaskClient) -> None:
    assert client.get("/patients/count").json == {"patient_count": 2}
    assert client.get("/studies/count").json == {"study_count": 2}
    assert client.get("/series/count").json == {"series_count": 4}
    assert client.get("/images/count").json == {"images_count": 19}
    assert client.get("/patients/DEMO-CT/counts").json == {
        "patient_id": "DEMO-CT",
        "study_count": 1,
        "series_count": 3,
        "image_count": 16,
    }


def test_a_study(client: FlaskClient) -> None:
    study = client.get(f"/studies/{CT}").json
    assert study is not None
    assert study["patient"]["PatientName"] == "Old^Höme 1"
    assert [(s["Modality"], s["NumberOfSeriesRelatedInstances"], s["ours"]) for s in study["series"]] == [
        ("CT", 14, False),
        ("SEG", 1, True),
        ("SR", 1, True),
    ]
    found = client.get("/dicom-web/studies").json
    assert found is not None
    assert [s["0020000D"]["Value"] for s in found] == [[CT], [MR]]


def test_results_and_their_files(client: FlaskClient, old: OldHome) -> None:
    (result,) = client.get(f"/studies/{CT}/results").json or []
    assert result["seg_series_instance_uid"] == SEG
    assert [(s["value"], s["label"], s["volume_ml"]) for s in result["segments"]] == [
        (1, "Right lung (aerated)", 999.18),
        (2, "Left lung (aerated)", 827.19),
        (3, "Bone", 177.723),
        (4, "Subcutaneous fat", 2075.346),
        (5, "Lean soft tissue", 4021.29),
    ]
    assert set(result["addresses"]) == {
        *("labels.json", "labels.nii.gz", "manifest.json", "model.glb", "preview.png"),
        *("seg.dcm", "segmentation.seg.nrrd", "sr.dcm"),
    }
    for name, address in result["addresses"].items():
        assert client.get(address, buffered=True).data == (old.home / "output" / "results" / RESULT / name).read_bytes()
    labels = client.get(f"/studies/{CT}/results/{CT}.1/slicer/labels").json
    assert labels is not None
    assert len(labels["labels"]) == 5


def test_a_picture_by_its_instance_and_by_its_name(client: FlaskClient) -> None:
    image = client.get(f"/images/{CT}.1.1").json
    assert image is not None
    (rendering,) = image["renderings"]
    picture = client.get(f"/images/{CT}.1.1/png", buffered=True)
    assert picture.mimetype == "image/png"
    assert sha256(picture.data).hexdigest() == rendering["sha256"]
    named = client.get("/imageinfo/d9c03dc7-4ea1-5ded-94da-d3d5f79b10f6.png").json
    assert named is not None
    assert named["SOPInstanceUID"] == f"{CT}.1.1"


def test_jobs(client: FlaskClient) -> None:
    answer: dict[str, Any] = client.get("/jobs").json or {}
    assert answer["counts"] == {"queued": 2, "running": 0, "done": 5, "failed": 1, "cancelled": 1}
    assert [(job["kind"], job["study"], job["state"]) for job in reversed(answer["jobs"])] == [
        ("catalogue", CT, "done"),
        ("segment", CT, "done"),
        ("catalogue", MR, "done"),
        ("segment", MR, "failed"),
        ("catalogue", CT, "done"),
        ("segment", CT, "done"),
        ("catalogue", NEW, "queued"),
        ("segment", NEW, "queued"),
        ("segment", NEW, "cancelled"),
    ]
    failed = client.get("/jobs/4").json
    assert failed is not None
    assert failed["error"]["message"] == "No Python with TotalSegmentator is set."


def test_accounts_and_the_audit(client: FlaskClient, app: Flask, old: OldHome) -> None:
    assert [user["name"] for user in client.get("/users").json or []] == ["admin", "reader"]
    assert [token["name"] for token in client.get("/tokens").json or []] == ["old script"]
    assert client.get("/rules").json == {
        "rules": (old.home / "segmentation.toml").read_text("utf-8"),
        "default_engine": "slicer",
    }
    audit: dict[str, Any] = client.get("/audit").json or {}
    by_the_old = [(e["user"], e["action"], e["status"]) for e in reversed(audit["entries"]) if e["id"] <= 13]
    assert len(by_the_old) == 13
    assert ("token:old script", "share", 201) in by_the_old
    assert ("nobody", "failure", 401) in by_the_old

    person = app.test_client()
    assert person.post("/login", data={"user": "admin", "password": "wrong"}).status_code == 401
    entered = person.post("/login", data={"user": "admin", "password": old.password})
    assert (entered.status_code, entered.location) == (303, "/")
    reader = app.test_client()  # whose password an administrator chose: it opens its own change alone
    assert reader.get("/studies", auth=("reader", "the reader's own")).status_code == 403
    change = {"old": "the reader's own", "new": "chosen by the reader"}
    assert reader.post("/account", json=change, auth=("reader", change["old"])).status_code == 303
    assert reader.get("/studies", auth=("reader", change["new"])).status_code == 200


def test_the_shared_link_opens_without_login(app: Flask, old: OldHome) -> None:
    answer = app.test_client().get(old.share, buffered=True)
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.data)) as files:
        assert files.testzip() is None
        assert sorted(files.namelist()) == [f"{RESULT}/labels.nii.gz", f"{RESULT}/model.glb"]


# -- work -------------------------------------------------------------------------------------------
def test_waiting_work_can_be_claimed_and_ended(database: Database) -> None:
    jobs, leases = JobQueue(database), JobLeases(database)
    assert list(leases.find_due_jobs("cpu", 10, [])) == [7, 8]
    job = ClaimedJob.claim(database, 7, "new-machine/1/1", lease_s=30)
    assert job is not None
    assert (job.kind, job.attempt, job.args["study_instance_uid"]) == ("catalogue", 1, NEW)
    assert job.finish({"summary": "3 added"})
    assert jobs.get(7).state == "done"
    assert jobs.retry(4)
    assert list(leases.find_due_jobs("cpu", 10, [])) == [4, 8]


def test_work_that_was_done_is_the_same_work_today(
    old: OldHome, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CtMrEngine, "version", "2")  # a new version of an engine is new work, and means to be
    ct, mr = content(database, CT), content(database, MR)
    assert orders(old, ct, "catalogue") == [KEYS["catalogue CT"]]
    assert orders(old, mr, "catalogue") == [KEYS["catalogue MR"]]
    assert orders(old, ct, "segment") == [KEYS["segment CT"]]
    assert orders(old, mr, "segment") == [KEYS["segment MR"]]
    by_name = kinds_of_work()["segment"].create_order(ct, old.settings, "slicer")  # type: ignore[attr-defined]
    assert by_name.key == KEYS["segment CT by a person"]
    without_rules = replace(old.settings, home=old.home / "empty")
    assert [o.key for o in kinds_of_work()["segment"].orders(ct, without_rules)] == [KEYS["segment CT by a person"]]

    jobs = JobQueue(database)
    with database.writing() as session:
        again = [order for work in kinds_of_work().values() for s in (ct, mr) for order in work.orders(s, old.settings)]
        assert [jobs.submit(session, order) for order in again] == [False] * 4
        assert jobs.retry_jobs_with_lost_results(session, ct) == 0


def test_the_uids_of_a_result_follow_from_the_same_parts(old: OldHome, database: Database) -> None:
    manifest = json.loads((old.home / "output" / "results" / RESULT / "manifest.json").read_text("utf-8"))
    (series,) = [s for s in content(database, CT).series if s.modality == "CT"]
    identity = Identity(series.series_instance_uid, series.digest, "slicer", "2", digest_parameters({}))
    assert identity.as_json() == manifest["identity"]
    for kind in ("SEG", "SR"):
        assert identity.derive_uid(f"{kind} series") == manifest[f"{kind.lower()}_series_instance_uid"]
        assert identity.derive_uid(f"{kind} instance") == manifest[f"{kind.lower()}_sop_instance_uid"]
    assert identity.derive_uid("SEG series") == SEG


def test_nobody_is_notified_twice(old: OldHome, database: Database) -> None:
    assert Notifier(old.settings, database).fill_outbox() == 0
