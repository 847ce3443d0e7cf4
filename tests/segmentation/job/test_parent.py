"""The child process: it tells, it ends in time, and it ends with its parent."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from minipacs.errors import EngineExceedsMemory, EngineFailed, NotAVolume
from segmentation.job import memory_errors, parent, watchdog
from segmentation.job.request import SegmentationRequest
from waiting import until


def has_ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def make_request(series, phantom, write_images, engines, tmp_path):
    def make(engine, slices=12, **more):
        s = series()
        files = write_images(s.images(phantom(s))[:slices])
        return SegmentationRequest(files=files, digest="d", engine=engine, out=tmp_path / "out", **more)

    return make


def test_the_child_tells_its_stages_and_its_manifest(make_request, settings, tmp_path):
    heard = []
    manifest = parent.run_in_child(
        make_request("threshold"), settings, lambda *told: heard.append(told), tmp_path / "log"
    )
    assert ("threshold", 1, 2) in heard
    assert manifest["files"] == sorted(f.name for f in (tmp_path / "out").iterdir() if f.name != "manifest.json")
    assert [s["label"] for s in manifest["segments"]] == ["Bone", "Soft tissue"]
    assert manifest["software"]["highdicom"]
    assert not (tmp_path / "log").exists()


def test_an_error_of_the_child_is_the_same_error_here(make_request, settings, tmp_path):
    with pytest.raises(NotAVolume, match="it has 5 images"):
        parent.run_in_child(make_request("threshold", slices=5), settings, lambda *_: None, tmp_path / "log")


def test_parameters_reach_the_engine_and_secrets_do_not_reach_the_child(make_request, settings, tmp_path):
    request = make_request("threshold", parameters={"bone": 2000})
    manifest = parent.run_in_child(request, settings, lambda *_: None, tmp_path / "log")
    assert manifest["parameters"] == {"bone": 2000}
    message = request.as_json(replace(settings, orthanc_password="geheim", admin_password="geheim"))
    assert "geheim" not in message
    assert "\n" not in message


def test_what_the_child_printed_is_kept_when_it_failed(make_request, settings, tmp_path):
    with pytest.raises(EngineFailed, match="crashed") as failure:
        parent.run_in_child(make_request("crashing"), settings, lambda *_: None, tmp_path / "log")
    assert "engines print" in (tmp_path / "log").read_text()
    assert str(tmp_path / "log") in failure.value.hint


def test_an_engine_that_stands_still_is_ended_long_before_its_time(make_request, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog, "CPU_CHECK_S", 0.5)
    with pytest.raises(EngineFailed, match=r"stood still for 3 s, while at: .*MINIPACS_ENGINE_STALL_S"):
        parent.run_in_child(make_request("hanging", stall_s=3), settings, lambda *_: None, tmp_path / "log")


def test_an_engine_that_is_silent_but_works_does_not_stand_still(make_request, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog, "CPU_CHECK_S", 0.5)
    limited = replace(settings, engine_limit_s=8)
    with pytest.raises(EngineFailed, match="took longer than 8 s"):
        parent.run_in_child(make_request("busy", stall_s=3), limited, lambda *_: None, tmp_path / "log")


def test_an_engine_that_takes_too_much_memory_is_ended(make_request, settings, tmp_path, monkeypatch):
    for module in (parent, memory_errors):
        monkeypatch.setattr(module, "compute_engine_bytes", lambda _settings: 10 * 2**20)
    with pytest.raises(EngineExceedsMemory, match=r"took more than 10 MB, while at: .*MINIPACS_ENGINE_MEMORY_MB"):
        parent.run_in_child(make_request("hanging"), settings, lambda *_: None, tmp_path / "log")


def test_a_child_ends_when_its_parent_is_killed(make_request, settings, tmp_path):
    request = make_request("hanging")
    code = (
        "import sys, json, subprocess, os\n"
        "child = subprocess.Popen([sys.executable, '-m', 'segmentation.job.child'], stdin=subprocess.PIPE,"
        " stdout=subprocess.PIPE, start_new_session=True)\n"
        "child.stdin.write(sys.stdin.buffer.readline()); child.stdin.flush()\n"
        "print(child.pid, flush=True)\n"
        "for line in child.stdout:\n"
        "    if b'threshold' in line: print('hangs', flush=True)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    parent.stdin.write(request.as_json(settings) + "\n")
    parent.stdin.flush()
    child = int(parent.stdout.readline())
    assert parent.stdout.readline().strip() == "hangs"
    parent.kill()
    parent.communicate()
    until(lambda: has_ended(child), what="the end of the child")


def test_modules_of_orders_and_commands_are_light():
    modules = "segmentation.job.work, segmentation.commands.segment, segmentation.commands.engines"
    code = f"import sys; import {modules}; print(list(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    loaded = set(json.loads(done.stdout.replace("'", '"')))
    assert not loaded & {"highdicom", "vtkmodules", "slicer", "SimpleITK", "cv2", "scipy", "nibabel", "torch"}
    assert Path(parent.__file__).name == "parent.py"
