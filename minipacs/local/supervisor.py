"""The processes of one machine, started, watched and stopped together.

A part that ends by itself is started again, after a wait that grows while that does not help. One that
ends again and again without having been ready ends everything; its last log line is printed. Each dies with us
(`child_process.py`).
"""

import shutil
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from minipacs.archive import local_orthanc
from minipacs.archive.client import Archive
from minipacs.certificates.https import check_https_certificate, open_front_door
from minipacs.child_process import ChildProcess
from minipacs.errors import ArchiveRefused, ArchiveUnreachable, MinipacsError, SettingsError
from minipacs.home_folder import prepare_home
from minipacs.jobs.pool_security import check_pool_security
from minipacs.jobs.service import ready_file_path
from minipacs.memory.process_limit import compute_archive_bytes
from minipacs.settings import Settings

READY_TIMEOUT_S = 300.0
"""Longest wait for a part to become ready; on a busy machine everything starts slowly."""
SLOW_START_S = 20.0
"""A part that takes longer to become ready is reported."""
HEALTH_TIMEOUT_S = 10.0
"""Longest wait for one answer of a part's /healthz."""
STOP_TIMEOUT_S = 15.0
"""Time the parts have to stop by themselves; then they are killed."""
MAX_UNREADY_ENDS = 3
"""How often a part may end before it is ready: what was killed is started again, what cannot start is reported."""
SECRETS: Mapping[str, Collection[str]] = {
    "Orthanc": (),  # its passwords stand in its configuration
    "job service": ("database_url", "orthanc_password", "webhook_url", "webhook_secret", "smtp_url"),
    "prompt service": ("database_url", "orthanc_password"),
    "front door": ("database_url", "orthanc_password", "admin_password", "openid_client_secret"),
}
"""Names of the secret settings that each part needs, and no other gets."""


@dataclass
class Part:
    """One program of the stack: its process, and how to see that it is ready."""

    name: str
    child: ChildProcess
    is_ready: Callable[[], bool]
    log: Path
    unready_ends: int = 0
    """How often it ended since it was last ready."""
    was_ready: bool = False
    """Whether this process was seen ready."""

    def describe_failure(self) -> str:
        """The last line it logged, which says why it ended, and where its log is."""
        last_line = _last_line(self.log)
        return f"Its last words: {last_line} (more in {self.log})" if last_line else f"See {self.log}."


class Stack:
    """Use with `with`: everything is ready inside, and stopped after."""

    def __init__(self, settings: Settings, stop: threading.Event, say: Callable[[str], None]) -> None:
        self.settings, self._stop, self._say = settings, stop, say
        self._parts: list[Part] = []

    def __enter__(self) -> "Stack":
        check_https_certificate(self.settings)
        prepare_home(self.settings)
        self._check_disk()
        check_pool_security(self.settings)
        self._check_ports()
        self._archive = Archive(self.settings)
        try:
            self._start_all()
        except MinipacsError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        children = [part.child for part in reversed(self._parts)]
        for child in children:
            child.ask_to_stop()
        for child in children:
            child.wait_or_kill(max(deadline - time.monotonic(), 0.1))
        self._archive.close()

    def restart_ended_parts(self) -> None:
        """Start parts that ended by themselves again; raises when that does not help."""
        for part in self._parts:
            if part.child.detect_end():
                self._handle_end(part)
            if part.child.restart_when_due():
                part.was_ready = False
            if part.child.is_running() and not part.was_ready and part.is_ready():
                part.was_ready, part.unready_ends = True, 0

    def _handle_end(self, part: Part) -> None:
        part.unready_ends += not part.was_ready
        if part.unready_ends >= MAX_UNREADY_ENDS:
            raise MinipacsError(f"{part.name} ended before it was ready.", part.describe_failure())
        self._say(f"{part.name} ended by itself; starting it again ({part.log})")

    def _start_all(self) -> None:
        settings, ours = self.settings, [sys.executable, "-m", "minipacs.cli"]
        self._add_part("Orthanc", local_orthanc.prepare_start_command(settings), self._is_orthanc_ready)
        self._add_part("job service", [*ours, "service"], self._is_job_service_ready)
        self._add_part("prompt service", [*ours, "prompts"], self._is_prompt_service_ready)
        self._add_part("front door", [*ours, "api"], self._is_front_door_ready)
        for part in self._parts:
            self._say(f"starting {part.name}")
            part.child.start()
        for part in self._parts:
            self._wait_until_ready(part)

    def _add_part(self, name: str, command: list[str], is_ready: Callable[[], bool]) -> None:
        log = self.settings.home / "log" / f"{name.replace(' ', '-').lower()}.log"
        environment = self.settings.as_environment(with_secrets=SECRETS[name])
        if name == "Orthanc":
            environment |= local_orthanc.ENVIRONMENT
        memory = compute_archive_bytes(self.settings) if name == "Orthanc" else None
        self._parts.append(Part(name, ChildProcess(command, environment, log, memory_bytes=memory), is_ready, log))

    def _wait_until_ready(self, part: Part) -> None:
        started, is_named = time.monotonic(), False
        while not part.is_ready() and not self._stop.is_set():
            self.restart_ended_parts()
            waited_s = time.monotonic() - started
            if waited_s > SLOW_START_S and not is_named:
                self._say(f"{part.name} starts slowly; still waiting for it ({part.log})")
                is_named = True
            if waited_s > READY_TIMEOUT_S:
                raise MinipacsError(f"{part.name} is not ready after {READY_TIMEOUT_S:.0f} s.", part.describe_failure())
            time.sleep(0.05)

    def _is_job_service_ready(self) -> bool:
        try:
            ready_pid = ready_file_path(self.settings).read_text()
        except FileNotFoundError:
            return False
        return any(str(part.child.pid) == ready_pid for part in self._parts)

    def _is_orthanc_ready(self) -> bool:
        try:
            return bool(self._archive.read_version()) and not _is_port_free(self.settings.dicom_port)
        except ArchiveUnreachable:
            return False
        except ArchiveRefused as error:
            raise SettingsError(
                f"Another Orthanc answers at {self.settings.orthanc_url}.", "Stop it, or set MINIPACS_ORTHANC_PORT."
            ) from error

    def _is_front_door_ready(self) -> bool:
        try:
            with open_front_door(self.settings, "/healthz", HEALTH_TIMEOUT_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _is_prompt_service_ready(self) -> bool:
        host, port = self.settings.prompts_address
        return _is_healthy(f"http://{host}:{port}/healthz")

    def _check_ports(self) -> None:
        settings = self.settings
        ports = {name: getattr(settings, name) for name in ("http_port", "orthanc_port", "dicom_port")}
        for name, port in {**ports, "prompts": settings.prompts_address[1]}.items():
            if not _is_port_free(port):
                raise SettingsError(
                    f"Port {port} is in use by another program.",
                    f"Stop that program, or set MINIPACS_{name.upper()} to a free port.",
                )

    def _check_disk(self) -> None:
        free_mb = shutil.disk_usage(self.settings.home).free // 2**20
        if free_mb < self.settings.reserve_mb:
            raise SettingsError(
                f"{self.settings.home} has {free_mb} MB free, below MINIPACS_RESERVE_MB={self.settings.reserve_mb}.",
                "Free some disk space, or set MINIPACS_HOME to another disk.",
            )


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=HEALTH_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _is_port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def _last_line(log: Path) -> str:
    """The last line of a log file; empty where there is none."""
    try:
        lines = log.read_text("utf-8", "replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1].strip() if lines else ""
