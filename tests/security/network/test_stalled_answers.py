"""Answers of the archive that stall after their heads: whoever needs no archive is answered."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from api.web.wait_limits import ArchiveWaits
from front_door import FrontDoor, running_front_door
from minipacs.errors import FrontDoorBusy
from slow_clients import connect
from waiting import until

CLIENTS = 64
MAY_WAIT = 6
"""A quarter of 24 threads."""
BLOCK = 512 * 1024
STORED = "--x\r\nContent-Type: application/dicom\r\n\r\nnothing\r\n--x--\r\n"
STORE = (
    "POST /dicom-web/studies HTTP/1.1\r\n"
    'Content-Type: multipart/related; type="application/dicom"; boundary=x\r\n'
    f"Content-Length: {len(STORED)}\r\n"
)
FRAMES = "GET /dicom-web/studies/1.2/series/3.4/instances/5.6/frames/1 HTTP/1.1\r\n"
STUDY = "GET /dicom-web/studies/1.2 HTTP/1.1\r\n"
LENGTH = "Content-Length: 100000000"
MULTIPART = "Content-Type: multipart/related"
JSON = "Content-Type: application/dicom+json"
STALLS = {
    "download": (STUDY, f"200 OK\r\n{MULTIPART}\r\n{LENGTH}", b""),
    "download that ends its connection": (STUDY, f"200 OK\r\n{MULTIPART}\r\n{LENGTH}\r\nConnection: close", b""),
    "chunked download": (STUDY, f"200 OK\r\n{MULTIPART}\r\nTransfer-Encoding: chunked", b""),
    "download, after its first block": (STUDY, f"200 OK\r\n{MULTIPART}\r\n{LENGTH}", bytes(BLOCK)),
    "JSON": ("GET /dicom-web/studies/1.2/metadata HTTP/1.1\r\n", f"200 OK\r\n{JSON}\r\n{LENGTH}", b"["),
    "what is not there": (STUDY, f"404 Not Found\r\n{LENGTH}", b""),
    "frames": (FRAMES, f"200 OK\r\n{MULTIPART}\r\n{LENGTH}", b""),
    "chunked frames": (FRAMES, f"200 OK\r\n{MULTIPART}\r\nTransfer-Encoding: chunked", b""),
    "frames that failed": (FRAMES, f"500 Error\r\n{LENGTH}", b""),
    "look-up": ("GET /where?q=1.2.3 HTTP/1.1\r\n", f"200 OK\r\nContent-Type: application/json\r\n{LENGTH}", b"["),
    "store": (STORE, f"200 OK\r\n{JSON}\r\n{LENGTH}", b"{"),
    "store, answered in XML": (STORE, f"200 OK\r\nContent-Type: application/dicom+xml\r\n{LENGTH}", b"<"),
}
"""Request line (and headers) of the client; head of the archive's answer; the beginning of its body."""


class StallingArchive:
    """A server that sends the beginning of an answer, and nothing more."""

    def __init__(self) -> None:
        self.beginning = b""
        self._server = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.getsockname()[1])

    def end_connections(self) -> None:
        """End the answers that stall."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Go away."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()
        self.end_connections()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._answer, args=(connection, self.beginning), daemon=True).start()

    def _answer(self, connection: socket.socket, beginning: bytes) -> None:
        received = b""
        with connection, suppress(OSError):
            while b"\r\n\r\n" not in received and (block := connection.recv(65536)):
                received += block
            connection.sendall(beginning)
            while connection.recv(65536):
                pass


class Clients:
    """Requests that are sent at once, each on a connection of its own; what comes is read."""

    def __init__(self, door: FrontDoor, request: str) -> None:
        body = STORED if request.startswith("POST ") else ""
        whole = f"{request}Host: localhost\r\nAccept: */*\r\n{door.login}Connection: close\r\n\r\n{body}".encode()
        self._open = {connect(door.port) for _ in range(CLIENTS)}
        self.answers: list[bytes] = []
        """The beginnings of those that have ended."""
        self._received = dict.fromkeys(self._open, b"")
        for connection in self._open:
            connection.sendall(whole)
            connection.setblocking(False)

    def count_ended(self) -> int:
        """How many answers have ended, be they refusals or parts of an answer."""
        for connection in list(self._open):
            with suppress(BlockingIOError):
                while block := self._receive(connection):
                    self._received[connection] = (self._received[connection] + block)[:512]
                self._open.discard(connection)
                connection.close()
                self.answers.append(self._received[connection])
        return len(self.answers)

    def close(self) -> None:
        """Go away."""
        for connection in self._open:
            connection.close()

    def _receive(self, connection: socket.socket) -> bytes:
        try:
            return connection.recv(65536)
        except ConnectionResetError:
            return b""


@pytest.fixture(scope="module")
def archive() -> Iterator[StallingArchive]:
    archive = StallingArchive()
    yield archive
    archive.close()


@pytest.fixture(scope="module")
def front_door(tmp_path_factory: pytest.TempPathFactory, archive: StallingArchive) -> Iterator[FrontDoor]:
    with running_front_door(tmp_path_factory.mktemp("home"), http_workers=1, orthanc_port=archive.port) as door:
        yield door
        archive.end_connections()


@pytest.mark.parametrize("kind", STALLS)
def test_answers_that_stall_after_their_heads_do_not_stop_what_needs_no_archive(
    front_door: FrontDoor, archive: StallingArchive, kind: str
) -> None:
    request, head, body = STALLS[kind]
    archive.beginning = f"HTTP/1.1 {head}\r\n\r\n".encode() + body
    clients = Clients(front_door, request)
    try:
        until(lambda: clients.count_ended() >= CLIENTS - MAY_WAIT, what="the end of those who may not wait")
        for path in ("/healthz", "/studies", "/account"):
            front_door.ask(path)
        if "first block" not in kind:  # nothing was sent yet, so a refusal could be
            assert all(b" 503 " in answer[:20] or b"does not answer" in answer for answer in clients.answers)
    finally:
        clients.close()
        archive.end_connections()


def test_heads_that_come_do_not_let_more_requests_wait_for_bodies_that_stall() -> None:
    waits = ArchiveWaits(8)
    with ExitStack() as stalled:
        for _ in range(4):
            with waits.wait(60):
                pass
            stalled.enter_context(waits.wait_for_body(60))
        with waits.wait(60):
            pass
        with pytest.raises(FrontDoorBusy), waits.wait_for_body(60):
            pass
    with waits.wait_for_body(60) as allowed:
        assert allowed == 60


def test_heads_and_bodies_that_stall_hold_half_of_the_threads_together() -> None:
    waits = ArchiveWaits(8)
    with waits.wait(60), waits.wait(60), waits.wait_for_body(60), waits.wait_for_body(60):
        for wait in (waits.wait, waits.wait_for_body):
            with pytest.raises(FrontDoorBusy), wait(60):
                pass
