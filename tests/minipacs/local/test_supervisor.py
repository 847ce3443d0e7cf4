"""What stands in the way of a start is said in one sentence, before anything is started."""

import socket
import sys
import threading
from pathlib import Path

import pytest

from minipacs import child_process
from minipacs.archive import local_orthanc
from minipacs.archive.client import Archive
from minipacs.child_process import ChildProcess
from minipacs.errors import MinipacsError, SettingsError
from minipacs.local import supervisor as stack_module
from minipacs.local.supervisor import Part, Stack
from stack import settings_for
from waiting import FOREVER_S, until


def start(home: Path, **changes: object) -> None:
    with Stack(settings_for(home, **changes), threading.Event(), lambda _sentence: None):
        pytest.fail("it must not start")


def test_an_occupied_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"Port {port} is in use .*MINIPACS_DICOM_PORT"):
            start(tmp_path, dicom_port=port)


def test_a_full_disk_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"MB free, below MINIPACS_RESERVE_MB=\d+.*Free some disk space"):
        start(tmp_path, reserve_mb=10**9)


def test_a_home_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match="cannot be created"):
        start(tmp_path / "file" / "home")


def test_a_missing_orthanc_names_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_orthanc, "BINARIES", ("no-such-program",))
    with pytest.raises(SettingsError, match="apt-get install orthanc orthanc-dicomweb orthanc-python"):
        start(tmp_path)


def test_the_configuration_keeps_its_password_to_its_owner(tmp_path: Path) -> None:
    folder = local_orthanc.write_configuration(settings_for(tmp_path))
    assert (folder / "machine.json").stat().st_mode & 0o077 == 0
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0


class StackOfOnePart(Stack):
    """A stack of one part: a program of the test."""

    def __init__(self, home: Path, program: str) -> None:
        self.said: list[str] = []
        super().__init__(settings_for(home), threading.Event(), self.said.append)
        self.flag = home / "ready"
        log = home / "log" / "part.log"
        child = ChildProcess([sys.executable, "-c", program, str(self.flag)], {}, log)
        self._parts = [Part("part", child, self.flag.exists, log)]
        self._archive = Archive(self.settings)
        child.start()


READY = f"import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep({FOREVER_S})"


def test_a_part_that_is_killed_is_started_again_however_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "RESTART_DELAYS_S", (0.0,))
    stack = StackOfOnePart(tmp_path, READY)
    (part,) = stack._parts
    try:
        for _ in range(2 * stack_module.MAX_UNREADY_ENDS):
            stack.flag.unlink(missing_ok=True)
            until(lambda: stack.restart_ended_parts() or part.was_ready)
            part.child.kill()
    finally:
        stack.__exit__()
    assert len(stack.said) == 2 * stack_module.MAX_UNREADY_ENDS - 1


def test_a_part_that_starts_slowly_is_named_once_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_module, "SLOW_START_S", 0.0)
    stack = StackOfOnePart(tmp_path, f"import time; time.sleep({FOREVER_S})")
    (part,) = stack._parts
    looks = iter([False, False, False, True])
    part.is_ready = lambda: next(looks, True)
    try:
        stack._wait_until_ready(part)
    finally:
        stack.__exit__()
    assert stack.said == [f"part starts slowly; still waiting for it ({part.log})"]


def test_a_part_that_never_becomes_ready_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    stack = StackOfOnePart(tmp_path, "raise SystemExit('this cannot be')")
    with pytest.raises(MinipacsError, match=r"part ended before it was ready\..*last words: this cannot be"):
        until(stack.restart_ended_parts)
    stack.__exit__()
