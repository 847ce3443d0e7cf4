"""The processes of one machine, started, watched and stopped together.

A part that ends by itself is started again, after a wait that grows while that does not help. One that
ends again and again without having been ready ends everything, with its last words. Each child dies with
us (PR_SET_PDEATHSIG), so that even `kill -9` of the parent leaves no orphans.
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
from dataclasses import dataclass, field
from pathlib import Path

from minipacs.archive import local_orthanc
from minipacs.archive.client import Archive
from minipacs.errors import ArchiveRefused, ArchiveUnreachable, MinipacsError, SettingsError
from minipacs.jobs.service import ready_file
from minipacs.settings import Settings

READY_S = 300.0
"""Longest wait for a part to become ready; on a busy machine everything starts slowly."""
SLOW_S = 20.0
"""A part that takes longer to become ready is named."""
HEALTH_S = 10.0
"""Longest wait for one answer of a part's /healthz."""
GRACE_S = 15.0
"""Time a part has to stop by itself; then it is killed."""
ENDS_UNREADY = 3
"""So often may a part end before it is ready: what was killed starts again, what cannot start is said."""
WAIT_S = (0.0, 0.0, 1.0, 2.0, 5.0)
"""Wait before a part is started again, by how often it ended in the last minute; then the last one."""
PR_SET_PDEATHSIG = 1
NOTHING: Mapping[str, str] = {}


@dataclass
class Part:
    """One child process: how it is started, and how to see that it is ready."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    environment: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    ended: list[float] = field(default_factory=list)
    """When it was seen to have ended by itself, in the last minute; on the monotonic clock."""
    unready: int = 0
    """How often it ended since it was last ready."""
    was_ready: bool = False
    """Whether this process was seen ready."""

    def start(self) -> None:
        """Start it in a session of its own: Ctrl+C reaches us alone, and we stop the parts in order."""
        self.was_ready = False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                self.command,
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def has_ended(self) -> bool:
        """Whether it is not running."""
        return self.process is None or self.process.poll() is not None


class Stack:
    """Use with `with`: everything is ready inside, and stopped after."""

    def __init__(self, settings: Settings, stop: threading.Event, say: Callable[[str], None]) -> None:
        self.settings, self._stop, self._say = settings, stop, say
        self._parts: list[Part] = []

    def __enter__(self) -> "Stack":
        self._check_room()
        self._check_ports()
        self._archive = Archive(self.settings)
        try:
            self._start_all()
        except MinipacsError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        processes = [part.process for part in reversed(self._parts) if part.process is not None]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for process in processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._archive.close()

    def check(self) -> None:
        """Start what has ended by itself again; raises when that does not help."""
        for part in self._parts:
            if not part.has_ended():
                if not part.was_ready and part.ready():
                    part.was_ready, part.unready = True, 0
                continue
            now = time.monotonic()
            if part.process is not None:
                self._note_end(part, now)
            if now - part.ended[-1] >= WAIT_S[min(len(part.ended), len(WAIT_S)) - 1]:
                part.start()

    def _note_end(self, part: Part, now: float) -> None:
        part.process = None
        part.ended = [t for t in part.ended if now - t < 60] + [now]
        part.unready += not part.was_ready
        if part.unready >= ENDS_UNREADY:
            raise MinipacsError(f"{part.name} ended before it was ready.", _tail(part.log) or f"See {part.log}.")
        self._say(f"{part.name} ended by itself; starting it again ({part.log})")

    def _start_all(self) -> None:
        settings, ours = self.settings, [sys.executable, "-m", "minipacs.cli"]
        self._add("Orthanc", local_orthanc.command(settings), self._orthanc_answers, local_orthanc.ENVIRONMENT)
        self._add("job service", [*ours, "service"], self._service_is_ready)
        self._add("prompt service", [*ours, "prompts"], self._prompts_answer)
        self._add("front door", [*ours, "api"], self._front_door_answers)
        for part in self._parts:
            self._say(f"starting {part.name}")
            part.start()
        for part in self._parts:
            self._await(part)

    def _add(
        self, name: str, command: list[str], ready: Callable[[], bool], environment: Mapping[str, str] = NOTHING
    ) -> None:
        log = self.settings.home / "log" / f"{name.replace(' ', '-').lower()}.log"
        self._parts.append(Part(name, command, ready, {**self.settings.as_environment(), **environment}, log))

    def _await(self, part: Part) -> None:
        started, is_named = time.monotonic(), False
        while not part.ready() and not self._stop.is_set():
            self.check()
            waited_s = time.monotonic() - started
            if waited_s > SLOW_S and not is_named:
                self._say(f"{part.name} starts slowly; still waiting for it ({part.log})")
                is_named = True
            if waited_s > READY_S:
                raise MinipacsError(
                    f"{part.name} is not ready after {READY_S:.0f} s.", _tail(part.log) or f"See {part.log}."
                )
            time.sleep(0.05)

    def _service_is_ready(self) -> bool:
        try:
            return any(str(p.process.pid) == ready_file(self.settings).read_text() for p in self._parts if p.process)
        except FileNotFoundError:
            return False

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
        return _is_well(f"http://127.0.0.1:{self.settings.http_port}/healthz")

    def _prompts_answer(self) -> bool:
        host, port = self.settings.prompts_address
        return _is_well(f"http://{host}:{port}/healthz")

    def _check_ports(self) -> None:
        settings = self.settings
        ports = {name: getattr(settings, name) for name in ("http_port", "orthanc_port", "dicom_port")}
        for name, port in {**ports, "prompts": settings.prompts_address[1]}.items():
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


def _is_well(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=HEALTH_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


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
