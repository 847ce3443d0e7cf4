import signal
import sys
from pathlib import Path

import pytest

from minipacs import child_process
from minipacs.child_process import ChildProcess
from waiting import FOREVER_S, until

DEAF = f"""
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep({FOREVER_S})
"""


def run_python(program: str, *arguments: str, log: Path | None = None) -> ChildProcess:
    child = ChildProcess([sys.executable, "-c", program, *arguments], {"WORD": "hello"}, log)
    child.start()
    return child


def test_what_a_child_writes_is_in_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log" / "child.log"
    child = run_python("import os; print(os.environ['WORD'])", log=log)
    until(lambda: not child.is_running())
    assert log.read_text() == "hello\n"


def test_an_end_is_noted_once_with_its_status() -> None:
    child = run_python("raise SystemExit(3)")
    until(child.detect_end)
    assert not child.detect_end()
    assert child.exit_status == 3


def test_a_child_that_ended_is_started_again_at_once_and_later_with_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "RESTART_DELAYS_S", (0.0, FOREVER_S))
    child = run_python("raise SystemExit(1)")
    assert not child.restart_when_due()
    until(child.detect_end)
    assert child.restart_when_due()
    until(child.detect_end)
    assert not child.restart_when_due()
    assert not child.is_running()


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    child = run_python(DEAF, str(tmp_path / "ready"))
    until((tmp_path / "ready").exists)
    child.stop(timeout_s=0.1)
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL
