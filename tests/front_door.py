"""`minipacs api` as a process of its own, for tests of the server itself: without archive and job service."""

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from api import create_app
from api.auth import accounts
from minipacs.settings import Settings
from slow_clients import read_status
from stack import settings_for
from waiting import PATIENCE_S, until

LARGE = 64 * 2**20
LARGE_FILE = "/results/1.2/3.4/slicer/model.glb"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@dataclass
class FrontDoor:
    """A running front door and a token of an administrator."""

    settings: Settings
    token: str
    context: ssl.SSLContext | None = None
    """Of its clients, where it speaks https."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.settings.http_port

    @property
    def login(self) -> str:
        """The header of the token, as a line."""
        return f"Authorization: Bearer {self.token}\r\n"

    def ask(self, path: str) -> None:
        """Ask as a script does, on a connection of its own."""
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n{self.login}Connection: close\r\n\r\n"
        assert read_status(self.port, request.encode(), self.context) == 200

    def is_answering(self) -> bool:
        """Whether it has started."""
        try:
            return read_status(self.port, HEALTH, self.context) == 200
        except OSError:
            return False


@contextmanager
def running_front_door(home: Path, context: ssl.SSLContext | None = None, **changes: object) -> Iterator[FrontDoor]:
    """A front door with a large result file, until the end of the block; keywords are settings."""
    settings = settings_for(home, **changes)
    state = create_app(settings).extensions["minipacs"]
    door = FrontDoor(settings, accounts.create_token(state.database, "tests", "admin"), context)
    state.close()
    file = settings.output / LARGE_FILE.removeprefix("/")
    file.parent.mkdir(parents=True)
    with file.open("wb") as large:
        large.truncate(LARGE)

    environment = {**os.environ, **settings.as_environment()}
    with (settings.home / "api.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "minipacs.cli", "api"], env=environment, stdout=log, stderr=log
        )
    try:
        until(door.is_answering, what="the front door's answer")
        yield door
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0
    finally:
        server.kill()
        server.wait()
