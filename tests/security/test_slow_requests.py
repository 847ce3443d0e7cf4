"""Clients that are slow, or never end what they begin: everybody else is answered meanwhile."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from api import create_app
from api.auth import accounts
from minipacs.settings import Settings
from slow_clients import Attack, attacking, attacks, connect, longest_answer_s, read_status
from stack import settings_for
from waiting import LOOK_S, PATIENCE_S, until

CONNECTIONS = 300
LARGE = 64 * 2**20
LARGE_FILE = "/results/1.2/3.4/slicer/model.glb"
ASKED = ("/healthz", "/studies", "/dicom-web/studies")


@dataclass
class FrontDoor:
    """A running `minipacs api` and a token of an administrator."""

    settings: Settings
    token: str

    @property
    def login(self) -> str:
        """The header of the token, as a line."""
        return f"Authorization: Bearer {self.token}\r\n"

    def ask(self, path: str) -> None:
        """Ask as a script does, on a connection of its own."""
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n{self.login}Connection: close\r\n\r\n"
        assert read_status(self.settings.http_port, request.encode()) == 200


@contextmanager
def serving(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """`minipacs api` until the end of the block."""
    environment = {**os.environ, **settings.as_environment()}
    with (settings.home / "api.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "minipacs.cli", "api"], env=environment, stdout=log, stderr=log
        )
    try:
        yield server
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def front_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    """The front door with a large result file."""
    settings = settings_for(tmp_path_factory.mktemp("home"))
    state = create_app(settings).extensions["minipacs"]
    token = accounts.create_token(state.database, "tests", "admin")
    state.close()
    file = settings.output / LARGE_FILE.removeprefix("/")
    file.parent.mkdir(parents=True)
    with file.open("wb") as large:
        large.truncate(LARGE)
    door = FrontDoor(settings, token)
    with serving(settings):
        until(lambda: is_answering(door), what="the front door's answer")
        yield door


def is_answering(door: FrontDoor) -> bool:
    """Whether it has started."""
    try:
        return read_status(door.settings.http_port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == 200
    except OSError:
        return False


@pytest.mark.parametrize("attack", attacks("/upload", LARGE_FILE), ids=lambda attack: attack.name)
@pytest.mark.parametrize("with_login", [True, False], ids=["with login", "without login"])
def test_a_slow_client_does_not_stop_others(front_door: FrontDoor, attack: Attack, with_login: bool) -> None:
    """Hundreds at once; on a machine with nothing else to do each answer takes less than a second."""
    path_of_body = "/upload" if with_login else "/login"
    kinds = {one.name: one for one in attacks(path_of_body, LARGE_FILE, front_door.login if with_login else "")}

    with attacking(kinds[attack.name], front_door.settings.http_port, CONNECTIONS) as standing:
        until(lambda: standing.opened >= CONNECTIONS, what="all connections of the attack")
        for path in ASKED:
            assert longest_answer_s(lambda path=path: front_door.ask(path), 1.0) < LOOK_S  # type: ignore[misc]


def test_thousands_of_idle_connections_do_not_stop_others(front_door: FrontDoor) -> None:
    """The worker's own limit on connections was 1000: beyond it nobody was let in."""
    with attacking(Attack("idle", b""), front_door.settings.http_port, 3000) as standing:
        until(lambda: standing.opened >= 3000, what="all connections")
        for path in ASKED:
            front_door.ask(path)


def test_a_client_that_never_ends_its_headers_is_disconnected(front_door: FrontDoor) -> None:
    assert read_status(front_door.settings.http_port, b"GET / HTTP/1.1\r\nX-Slow: ") == 0


def test_a_request_that_follows_at_once_is_answered(front_door: FrontDoor) -> None:
    """Pipelined: what came behind a request is the beginning of the next one."""
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(front_door.settings.http_port) as connection:
        connection.sendall(one * 3 + one[:20])
        connection.sendall(one[20:].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answers = b""
        while got := connection.recv(65536):
            answers += got
    assert answers.count(b"HTTP/1.1 200 OK") == 4
