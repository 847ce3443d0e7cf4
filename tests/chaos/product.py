"""The system under test: `minipacs up`, started again when it ends, as a supervisor of services would."""

import os
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import psutil

from minipacs.archive.client import Archive
from minipacs.database import Database
from minipacs.errors import MinipacsError
from minipacs.settings import Settings
from waiting import LOOK_S, PATIENCE_S, until

RESTART_DELAY_S = 1.0
PARTS = {
    "up": "minipacs.cli up",
    "service": "minipacs.cli service",
    "front door": "minipacs.cli api",
    "prompt service": "minipacs.cli prompts",
    "archive": "Orthanc",
    "worker": "-m minipacs.jobs.worker",
    "child": "segmentation.job.child",
    "remote worker": "minipacs.cli worker",
    "scheduler": "minipacs.cli scheduler",
}
"""Each part by words of its command line."""


class Product:
    """The whole product with its data in one folder; use with `with`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.archive = Archive(settings)
        self.database = Database(settings.database_url)
        self.starts = 0
        self._up: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def __enter__(self) -> "Product":
        self.settings.home.mkdir(parents=True, exist_ok=True)
        self.temporary.mkdir(exist_ok=True)
        self._supervisor.start()
        try:
            until(self.is_ready, what="the product's start")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._supervisor.join()
        if self._up is not None:
            self._up.terminate()
            self._up.wait(PATIENCE_S)
        for process in self.find_processes():
            process.kill()
        self.archive.close()
        self.database.close()

    @property
    def temporary(self) -> Path:
        """The folder for temporary files of every process of this product."""
        return self.settings.home / "tmp"

    def is_ready(self) -> bool:
        """Whether the archive answers and the front door with it."""
        try:
            self.archive.read_version()
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.http_port}/healthz", timeout=LOOK_S):
                return True
        except (MinipacsError, OSError):
            return False

    def find_processes(self, part: str = "") -> list[psutil.Process]:
        """Every process of this product, found by its environment: orphans too."""
        mark, words = f"MINIPACS_HOME={self.settings.home}", PARTS.get(part, part)
        found = []
        for process in psutil.process_iter():
            try:
                if words in " ".join(process.cmdline()) and _has_in_environment(process, mark):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def _supervise(self) -> None:
        while not self._stop.is_set():
            if self._up is None or self._up.poll() is not None:
                self._start()
            self._stop.wait(RESTART_DELAY_S)

    def _start(self) -> None:
        self.starts += 1
        environment = {**os.environ, **self.settings.as_environment(), "TMPDIR": str(self.temporary)}
        command = [sys.executable, "-m", "minipacs.cli", "up"]
        with (self.settings.home / "up.log").open("ab") as log:
            self._up = subprocess.Popen(command, env=environment, cwd=self.settings.home, stdout=log, stderr=log)


def _has_in_environment(process: psutil.Process, mark: str) -> bool:
    """Whether the process was started with this word in its environment, which never changes."""
    try:
        return mark.encode() in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
