"""minipacs needs no right that an ordinary user has not, and its systemd unit gives it none."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from minipacs.local.phantom import write_chest_ct
from stack import running

ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "scripts" / "minipacs.service"
USER = 64321
"""A user that this machine does not know, as in a container."""


def ordinary_python(folder: Path) -> Path:
    """A program that runs Python as an ordinary user without any capability, whoever starts it."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    starts_itself = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import psutil'], check=True)"
    for python in filter(os.path.exists, (sys.executable, f"/usr/bin/{version}")):
        done = subprocess.run([*drop, python, "-c", starts_itself], env=environment(), capture_output=True, check=False)
        if done.returncode == 0:
            program = folder / "python"
            program.write_text(f'#!/bin/sh\nexec {" ".join(drop)} {python} "$@"\n')
            program.chmod(0o755)
            return program
    pytest.skip(f"no {version} that other users may run")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user can reach: pytest keeps its own to itself."""
    with TemporaryDirectory(prefix="minipacs-ordinary-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def home(folder: Path) -> Path:
    """An empty home of the user."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, USER, USER)
    return home


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("Orthanc") is None, reason="needs Orthanc")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_everything_runs_as_an_ordinary_user(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_chest_ct(folder / "ct", slices=12)
    monkeypatch.setattr(sys, "executable", str(ordinary_python(folder)))
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])

    with running(home, orthanc_password="known before the start") as stack:
        (study,) = stack.send(folder / "ct")
        stack.wait_jobs(study, "catalogue", "segment")
        assert "root" not in (home / "up.log").read_text()
        users = {process.uids().effective for word in ("minipacs", "Orthanc") for process in stack.processes(word)}
        assert users == {USER}
        written = {path for path in home.rglob("*") if path.name != "up.log" and path.lstat().st_uid != USER}
        assert written == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_home_that_root_has_used_is_refused_in_one_sentence(folder: Path, home: Path) -> None:
    (home / "secrets.json").touch(0o600)
    command = [str(ordinary_python(folder)), "-m", "minipacs.cli", "service"]
    variables = {**environment(), "MINIPACS_HOME": str(home)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{home / 'secrets.json'} belongs to another user" in done.stderr
    assert f"chown -R {USER} {home}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_unit_is_valid_and_closes_what_is_not_needed(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    text = UNIT.read_text("utf-8")
    for wanted in ("User=minipacs", "UMask=0077", "NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes"):
        assert f"\n{wanted}\n" in text
    here = tmp_path / "minipacs.service"
    here.write_text(text.replace("/opt/minipacs/.venv/bin/minipacs", "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", str(here)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(here)], check=False)
    assert rated.returncode == 0, "more is open than 2.0 of 10"
