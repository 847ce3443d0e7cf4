"""An application with a small catalogue of its own, and clients of each role."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api import create_app
from api.auth import accounts
from minipacs.catalogue import Instance, Patient, Rendering, RowCount, Series, Study
from minipacs.jobs.contract import Order
from minipacs.jobs.queue import JobQueue
from minipacs.settings import Settings
from postgres import new_url

STUDY, SERIES, IMAGE = "1.2.3.4.1", "1.2.3.4.1.1", "1.2.3.4.1.1.1"
NAME = "<script>alert(1)</script>^Ünïcödé"
ODD = "A/B 50%-ü"
PICTURE = "0b6f6c3e-5f0e-5f0e-8f0e-000000000001"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@dataclass
class Caller:
    """A client with a token: `caller("/studies")`."""

    client: FlaskClient
    headers: dict[str, str]

    def __call__(self, path: str, method: str = "GET", **options: Any) -> TestResponse:
        headers = {**self.headers, **options.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, buffered=True, **options)


@pytest.fixture
def kind() -> str:
    """Which database; modules that ask it odd things override this with both."""
    return "sqlite"


@pytest.fixture
def settings(tmp_path: Path, kind: str) -> Settings:
    """Everything below a folder of its own; nobody answers at the archive's address."""
    values = {
        "DATABASE_URL": new_url(kind, tmp_path),
        "HOME": str(tmp_path / "home"),
        "ORTHANC_URL": "http://127.0.0.1:9",
        "PROMPTS": "127.0.0.1:9",
        "ADMIN_PASSWORD": "the admin's own",
    }
    return Settings.from_env({f"MINIPACS_{name}": value for name, value in values.items()})


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application over a catalogue of two patients, with a picture, a result and a job."""
    app = create_app(settings)
    state = app.extensions["minipacs"]
    accounts.ensure_administrator(state.database, settings)
    with state.database.writing() as session:
        fill(session, settings)
        JobQueue(state.database).submit(session, Order("segment", "key", STUDY))
    write_result(settings.output / "results" / STUDY / SERIES / "slicer")
    yield app
    app.extensions["minipacs_audit"].close()
    state.close()


def fill(session: Any, settings: Settings) -> None:
    """Two patients, three studies, one picture."""
    picture = settings.output / "png" / "train" / "CT" / f"{PICTURE}.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(bytes(range(200)))
    for key, name, studies in (("P1", NAME, 2), (ODD, "Odd^One", 1)):
        session.add(
            Patient(
                patient_key=key, patient_id=key, patient_name=name, number_of_patient_related_studies=studies,
                number_of_patient_related_series=studies, number_of_patient_related_instances=studies * 2,
            )
        )  # fmt: skip
    session.flush()
    for n, key in enumerate(("P1", "P1", ODD), 1):
        study, series = f"1.2.3.4.{n}", f"1.2.3.4.{n}.1"
        day = date(2024, n, 1) if n < 3 else None
        session.add(
            Study(
                study_key=f"key {study}", study_instance_uid=study, patient_key=key, study_date=day,
                study_description=f"Study {n}",
                number_of_study_related_series=1, number_of_study_related_instances=2,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            Series(
                series_key=f"key {series}", study_key=f"key {study}", series_instance_uid=series,
                study_instance_uid=study, modality="CT" if n < 3 else "MR",
                series_description="Series", number_of_series_related_instances=2,
            )
        )  # fmt: skip
        session.flush()
        for i in (1, 2):
            session.add(
                Instance(
                    instance_key=f"key {series}.{i}", series_key=f"key {series}", sop_instance_uid=f"{series}.{i}",
                    series_instance_uid=series, instance_number=i, source="x",
                )
            )  # fmt: skip
    session.flush()
    session.add(
        Rendering(
            rendering_id=PICTURE, instance_key=f"key {IMAGE}",
            sop_instance_uid=IMAGE, frame_number=1, split="train", png_path=str(picture),
            sha256="0", bytes=200, bit_depth=8, rows=10, columns=20, window_center=40.0, window_width=400.0,
            rescale_slope=1.0, rescale_intercept=-1024.0, window_source="header", rules=1,
        )
    )  # fmt: skip
    for name, number in (("patient", 2), ("study", 3), ("series", 3), ("instance", 6)):
        session.add(RowCount(name=name, number=number))


def write_result(folder: Path) -> None:
    """A label map of 5 × 4 × 3 voxels with the labels 1, 2 and 3, and its manifest."""
    folder.mkdir(parents=True)
    labels = np.arange(60, dtype=np.uint8).reshape(5, 4, 3) % 4
    affine = np.array([[0.7, 0.1, 0, -10], [-0.1, 0.8, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(labels, affine), folder / "labels.nii.gz")
    rows = [{"value": n, "label": name} for n, name in enumerate(("Right lung", "Left lung", "Bone"), 1)]
    (folder / "labels.json").write_text(json.dumps({"labels": rows}))
    (folder / "model.glb").write_bytes(b"glTF" + bytes(1000))
    manifest = {
        "series_instance_uid": SERIES,
        "segments": rows,
        "files": sorted(p.name for p in folder.iterdir()),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def caller(app: Flask) -> Callable[[str], Caller]:
    """A client with a token of this role."""

    def make(role: str = "viewer") -> Caller:
        token = accounts.create_token(app.extensions["minipacs"].database, f"a {role}", role)
        return Caller(app.test_client(), {"Authorization": f"Bearer {token}"})

    return make


@pytest.fixture
def viewer(caller: Callable[[str], Caller]) -> Caller:
    """A client that may look."""
    return caller("viewer")


@pytest.fixture
def operator(caller: Callable[[str], Caller]) -> Caller:
    """A client that may upload, share, cancel."""
    return caller("operator")


@pytest.fixture
def admin(caller: Callable[[str], Caller]) -> Caller:
    """A client that may everything."""
    return caller("admin")
