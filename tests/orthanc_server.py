"""Orthanc alone, with our plugin, started for a test in a folder of its own."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from minipacs.archive import local_orthanc
from minipacs.archive.client import Archive
from minipacs.child_process import ChildProcess
from minipacs.errors import ArchiveError
from minipacs.settings import Settings
from stack import settings_for
from waiting import PATIENCE_S, until


class OrthancServer:
    """A real Orthanc, and a client of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.archive = Archive(settings)
        environment = {**settings.as_environment(), **local_orthanc.ENVIRONMENT}
        command = local_orthanc.prepare_start_command(settings)
        self._process = ChildProcess(command, environment, settings.home / "orthanc.log")

    def start(self) -> None:
        """Start it, and wait for its answer."""
        self._process.start()
        until(self._answers, what="Orthanc")

    def stop(self) -> None:
        """Stop it; what it holds stays."""
        self._process.stop(PATIENCE_S)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()

    def _answers(self) -> bool:
        if not self._process.is_running():
            raise AssertionError((self.settings.home / "orthanc.log").read_text())
        try:
            return bool(self.archive.read_version())
        except ArchiveError:
            return False


@contextmanager
def running_orthanc(home: Path, **changes: object) -> Iterator[OrthancServer]:
    """An Orthanc of its own, stopped at the end; keywords are settings. Skips the test without Orthanc."""
    if local_orthanc.find_binary() is None:
        pytest.skip("needs Orthanc")
    server = OrthancServer(settings_for(home, **changes))
    with closing(server.archive):
        server.start()
        try:
            yield server
        finally:
            server.stop()
