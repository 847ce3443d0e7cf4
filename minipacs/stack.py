"""The three processes of one machine, started, watched and stopped together.

Each child dies with us (PR_SET_PDEATHSIG), so that even `kill -9` of the parent leaves no orphans.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from minipacs import orthanc
from minipacs.archive import Archive
from minipacs.errors import ArchiveRefused, ArchiveUnreachable, MinipacsError, SettingsError
from minipacs.service import ready_file
from minipacs.settings import Settings

READY_S = 60.0
"""Longest wait for a part to become ready."""
GRACE_S = 15.0
"""Time a part has to stop by itself; then it is killed."""
PR_SET_PDEATHSIG = 1
NOTHING: Mapping[str, str] = {}


@dataclass
class Part:
    """One child process and how to see that it is ready."""

    name: str
    process: "subprocess.Popen[bytes]"
    ready: Callable[[], bool]
    log: Path


class Stack:
    """Use with `with`: everything is ready inside, and stopped after."""

    def __init__(self, settings: Settings, stop: threading.Event, say: Callable[[str], None]) -> None:
        self.settings, self._stop, self._say = settings, stop, say
        self._parts: list[Part] = []
        self._archive = Archive(settings)

    def __enter__(self) -> "Stack":
        self._check_room()
        self._check_ports()
        try:
            self._start_all()
        except MinipacsError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for part in reversed(self._parts):
            part.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for part in reversed(self._parts):
            try:
                part.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                part.process.kill()
                part.process.wait()
        self._archive.close()

    def check(self) -> None:
        """Raise when a part has ended by itself."""
        for part in self._parts:
            if part.process.poll() is not None:
                raise MinipacsError(
                    f"{part.name} ended by itself (exit code {part.process.returncode}).",
                    _tail(part.log) or f"See {part.log}.",
                )

    def _start_all(self) -> None:
        settings, ours = self.settings, [sys.executable, "-m", "minipacs.cli"]
        ready_file(settings).unlink(missing_ok=True)
        self._start("Orthanc", orthanc.command(settings), self._orthanc_answers, orthanc.ENVIRONMENT)
        self._start("job service", [*ours, "service"], ready_file(settings).exists)
        self._start("front door", [*ours, "api"], self._front_door_answers)
        for part in self._parts:
            self._await(part)

    def _start(
        self, name: str, command: list[str], ready: Callable[[], bool], environment: Mapping[str, str] = NOTHING
    ) -> None:
        log = self.settings.home / "log" / f"{name.replace(' ', '-').lower()}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._say(f"starting {name}")
        with log.open("ab") as stream:
            process = subprocess.Popen(
                command,
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.settings.as_environment(), **environment},
                start_new_session=True,  # Ctrl+C reaches us alone; we stop the parts in order
                preexec_fn=_die_with_parent,
            )
        self._parts.append(Part(name, process, ready, log))

    def _await(self, part: Part) -> None:
        deadline = time.monotonic() + READY_S
        while not part.ready():
            self.check()
            if self._stop.is_set():
                return
            if time.monotonic() > deadline:
                raise MinipacsError(
                    f"{part.name} is not ready after {READY_S:.0f} s.", _tail(part.log) or f"See {part.log}."
                )
            time.sleep(0.05)

    def _orthanc_answers(self) -> bool:
        try:
            return bool(self._archive.version()) and not _is_free(self.settings.dicom_port)
        except ArchiveUnreachable:
            return False
        except ArchiveRefused as error:
            raise SettingsError(
                f"Another Orthanc answers at {self.settings.orthanc_url}.", "Stop it, or set MINIPACS_ORTHANC_PORT."
            ) from error

    def _front_door_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.http_port}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _check_ports(self) -> None:
        for name in ("http_port", "orthanc_port", "dicom_port"):
            port = getattr(self.settings, name)
            if not _is_free(port):
                raise SettingsError(
                    f"Port {port} is in use by another program.",
                    f"Stop that program, or set MINIPACS_{name.upper()} to a free port.",
                )

    def _check_room(self) -> None:
        try:
            self.settings.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"{self.settings.home} cannot be made ({error.strerror}).", "Set MINIPACS_HOME."
            ) from error
        free_mb = shutil.disk_usage(self.settings.home).free // 2**20
        if free_mb < self.settings.reserve_mb:
            raise SettingsError(
                f"{self.settings.home} has {free_mb} MB free, below MINIPACS_RESERVE_MB={self.settings.reserve_mb}.",
                "Free some disk space, or set MINIPACS_HOME to another disk.",
            )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def _tail(log: Path) -> str:
    """The last sentence a part wrote, which says why it ended."""
    try:
        lines = log.read_text("utf-8", "replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return f"Its last words: {lines[-1].strip()} (more in {log})" if lines else ""


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
