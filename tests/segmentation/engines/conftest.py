"""Every engine, ready to be asked: the embedded one as it is, the others beside a stand-in of their other half."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from minipacs.settings import Settings

STAND_INS = Path(__file__).with_name("stand_ins")


def load_stand_in(name):
    """A module of `stand_ins/`."""
    spec = util.spec_from_file_location(f"stand_in_{name}", STAND_INS / f"{name}.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_program(path, *lines):
    """An executable shell script."""
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Below a temporary folder; no optional engine is set."""
    return Settings(home=tmp_path / "home", engine_limit_s=120).complete()


@pytest.fixture
def slicer_program(tmp_path, settings, monkeypatch) -> Settings:
    """A full 3D Slicer, stood in for."""
    monkeypatch.setenv("DISPLAY", ":0")
    line = f'exec {sys.executable} {STAND_INS / "slicer_program.py"} "$@"'
    return replace(settings, slicer_executable=write_program(tmp_path / "Slicer", line))


@pytest.fixture
def totalsegmentator_python(tmp_path, settings) -> Settings:
    """A Python with TotalSegmentator, stood in for, and the weights of its fast total task."""
    load_stand_in("totalsegmentator_package").install(tmp_path / "packages")
    (tmp_path / "weights" / "D297").mkdir(parents=True)
    (tmp_path / "weights" / "D297" / "plans.json").write_text("{}")
    line = f'PYTHONPATH={tmp_path / "packages"} exec {sys.executable} "$@"'
    python = write_program(tmp_path / "python", line)
    return replace(settings, totalsegmentator_python=python, totalsegmentator_weights=str(tmp_path / "weights"))


@pytest.fixture
def nim(settings, monkeypatch) -> Iterator:
    """A VISTA-3D server, stood in for."""
    server = load_stand_in("nim_server").Nim()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def front_door(settings) -> Iterator[str]:
    """The address of our front door's signed links, served for real."""
    from threading import Thread

    from flask import Flask
    from werkzeug.serving import make_server

    from api.work import signed_files

    app = Flask("api")
    app.extensions["minipacs"] = type("State", (), {"settings": settings})
    app.register_blueprint(signed_files.blueprint)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def vista3d_server(settings, nim, front_door) -> Settings:
    """Settings that lead to both."""
    return replace(settings, vista3d_url=nim.url, vista3d_address=front_door)


@pytest.fixture
def sam_python(tmp_path, settings) -> Settings:
    """A Python with torch and transformers, stood in for, and the folder of a model."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "sam2"}')
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    line = f'exec {sys.executable} {STAND_INS / "sam_python.py"} "$@"'
    python = write_program(tmp_path / "sam", line)
    return replace(settings, sam_python=python, sam_model=str(tmp_path / "model"))


ORIENTATION = np.linalg.qr(np.array([[0.9, 0.2, 0.1], [-0.1, 0.9, 0.3], [0.3, 0.1, 0.9]]))[0]
BRIGHT = (slice(9, 14), slice(14, 30), slice(52, 61))


@pytest.fixture
def body():
    """A CT volume: an oblique, anisotropic, not square body of soft tissue with one bright block off its centre."""
    from highdicom import Volume

    shape, spacing = (22, 64, 80), (5.0, 3.5, 3.0)
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    inside = (((indices - np.array(shape) / 2)[..., 1:] / (26, 34)) ** 2).sum(-1) < 1
    array = np.where(inside, 40, -1000).astype(np.int16)
    array[BRIGHT] = 700
    direction = ORIENTATION[:, [2, 1, 0]] * np.sign(np.diag(ORIENTATION))[[2, 1, 0]]
    return Volume.from_components(
        array=array, spacing=spacing, position=(-110.0, -90.0, 35.0), direction=direction, coordinate_system="PATIENT"
    )
