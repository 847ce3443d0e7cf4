"""Requests that wait for something that never answers, be it another server or a computation: others are answered."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from api.auth.openid import provider as openid
from api.auth.openid.provider import OpenIdProvider
from api.web.wait_limits import BRIEF_WAIT_S, ArchiveWaits, WaitLimits
from front_door import FrontDoor, running_front_door
from minipacs.errors import FrontDoorBusy, SingleSignOnUnavailable
from minipacs.settings import Settings
from openid_provider import CLIENT_ID, CLIENT_SECRET, running_provider
from slow_clients import connect
from waiting import until

RESULT = "1.2/3.4/threshold"
REQUESTS = 40
MAY_WAIT = 6
WAITING = {
    "single sign-on": "/login/openid",
    "images under a label map": "/studies/1.2/results/3.4/threshold/source.nii.gz",
    "prompts": "/prompts/engines",
    "conversion": f"/results/{RESULT}/seg.dcm?type=BINARY",
}
OF_THE_ARCHIVE = {
    "resources": "GET /dicom-web/studies/1.2/metadata",
    "frames": "GET /dicom-web/studies/1.2/series/3.4/instances/5.6/frames/1",
    "searches": "GET /dicom-web/studies/1.2/instances",
    "look-ups": "GET /where?q=1.2.3",
    "readiness": "GET /readyz",
    "stores": "POST /dicom-web/studies",
}
STORED = "--x\r\nContent-Type: application/dicom\r\n\r\nnothing\r\n--x--\r\n"
STORE_HEAD = (
    f'Content-Type: multipart/related; type="application/dicom"; boundary=x\r\nContent-Length: {len(STORED)}\r\n'
)
CLIENTS = 64


class DeadPeer:
    """A server that takes connections and never answers."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.port: int = self._server.getsockname()[1]

    def end_connections(self) -> None:
        """Close all connections, whose requests fail; go on at the same port."""
        self._server.close()
        self._server = socket.create_server(("127.0.0.1", self.port), backlog=1000)

    def close(self) -> None:
        """Go away."""
        self._server.close()


@pytest.fixture(scope="module")
def peer() -> Iterator[DeadPeer]:
    peer = DeadPeer()
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def front_door(tmp_path_factory: pytest.TempPathFactory, peer: DeadPeer) -> Iterator[FrontDoor]:
    """A front door whose every peer hangs, and a result whose manifest cannot be read to its end."""
    changes = {
        "http_workers": 1,
        "orthanc_port": peer.port,
        "prompts": f"127.0.0.1:{peer.port}",
        "public_url": "http://localhost",
        "openid_issuer": f"http://127.0.0.1:{peer.port}",
        "openid_client_id": CLIENT_ID,
        "openid_client_secret": CLIENT_SECRET,
        "openid_roles": "radiology=annotator",
    }
    with running_front_door(tmp_path_factory.mktemp("home"), **changes) as door:
        folder = door.settings.output / "results" / RESULT
        folder.mkdir(parents=True)
        (folder / "seg.dcm").touch()
        (folder / "labels.nii.gz").touch()
        manifest = folder / "manifest.json"
        os.mkfifo(manifest)
        yield door
        fifo = os.open(manifest, os.O_RDWR)
        manifest.unlink()
        os.close(fifo)  # who reads it has come to its end


class Requests:
    """Requests that were sent at once, each on a connection of its own."""

    def __init__(self, door: FrontDoor, what: str, number: int = REQUESTS) -> None:
        more, body = (STORE_HEAD, STORED) if what.startswith("POST ") else ("", "")
        head = f"{what} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n{door.login}{more}Connection: close\r\n\r\n"
        self._connections = [connect(door.port) for _ in range(number)]
        for connection in self._connections:
            connection.sendall((head + body).encode())
            connection.setblocking(False)
        self._answers: dict[socket.socket, bytes] = {}

    def refused(self) -> int:
        """How many were told to come again."""
        return sum(b" 503 " in one and b"Retry-After" in one for one in self.answers())

    def answers(self) -> list[bytes]:
        """The beginnings of the answers so far."""
        for connection in self._connections:
            if connection not in self._answers:
                try:
                    self._answers[connection] = connection.recv(4096)
                except BlockingIOError:
                    continue
        return list(self._answers.values())

    def close(self) -> None:
        """Go away."""
        for connection in self._connections:
            connection.close()


@pytest.mark.parametrize("kind", WAITING)
def test_requests_that_wait_for_something_that_hangs_do_not_stop_others(
    front_door: FrontDoor, peer: DeadPeer, kind: str
) -> None:
    requests = Requests(front_door, f"GET {WAITING[kind]}")
    try:
        until(lambda: requests.refused() >= REQUESTS - MAY_WAIT, what="the answers to those who may not wait")
        for path in ("/healthz", "/studies", "/account"):
            front_door.ask(path)
    finally:
        requests.close()
        peer.end_connections()


@pytest.mark.parametrize("kind", OF_THE_ARCHIVE)
def test_an_archive_that_never_answers_does_not_stop_what_needs_none(
    front_door: FrontDoor, peer: DeadPeer, kind: str
) -> None:
    requests = Requests(front_door, OF_THE_ARCHIVE[kind], CLIENTS)
    try:
        until(lambda: len(requests.answers()) >= CLIENTS - MAY_WAIT, what="the answers to those who may not wait")
        for answer in requests.answers():
            assert b" 503 " in answer[:20] or b"does not answer" in answer, answer
        for path in ("/healthz", "/studies", "/account"):
            front_door.ask(path)
    finally:
        requests.close()
        peer.end_connections()


def test_an_archive_that_answers_may_be_asked_by_all_at_once() -> None:
    waits = ArchiveWaits(8)
    with waits.wait(60):
        pass
    with ExitStack() as all_at_once:
        allowed = [all_at_once.enter_context(waits.wait(60)) for _ in range(30)]
    assert allowed == [60, 60] + [BRIEF_WAIT_S] * 28


def test_an_archive_that_answers_nobody_is_waited_for_by_half_of_the_threads() -> None:
    waits = ArchiveWaits(8)
    with ExitStack() as all_at_once:
        for _ in range(4):
            all_at_once.enter_context(waits.wait(60))
        with pytest.raises(FrontDoorBusy), waits.wait(60):
            pass
    with waits.wait(60) as allowed:
        assert allowed == 60


def test_requests_that_wait_for_different_things_leave_half_of_the_threads_to_others() -> None:
    limits = WaitLimits(8)
    with limits.wait_for("a"), limits.wait_for("a"), limits.wait_for("b"), limits.wait_for("b"):
        for thing in ("a", "b", "c"):
            with pytest.raises(FrontDoorBusy), limits.wait_for(thing):
                pass
    with limits.wait_for("c"):
        pass


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Any]:
    with running_provider() as provider:
        values = {"HOME": str(tmp_path), "PUBLIC_URL": "http://localhost", "OPENID_ISSUER": provider.issuer}
        more = {"OPENID_CLIENT_ID": CLIENT_ID, "OPENID_CLIENT_SECRET": CLIENT_SECRET, "OPENID_ROLES": "a=viewer"}
        yield Settings.from_env({f"MINIPACS_{name}": value for name, value in (values | more).items()})


def count_fetches(provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> list[None]:
    """Each time that the provider is asked for its metadata."""
    asked: list[None] = []
    fetch = provider._fetch_metadata

    def fetch_and_count() -> Any:
        asked.append(None)
        if fails:
            raise SingleSignOnUnavailable("It is away.")
        return fetch()

    monkeypatch.setattr(provider, "_fetch_metadata", fetch_and_count)
    return asked


def test_a_single_sign_on_that_does_not_answer_is_not_asked_by_every_request(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openid, "ASK_AGAIN_S", 1e6)
    provider = OpenIdProvider(settings, WaitLimits(24))
    asked = count_fetches(provider, monkeypatch, fails=True)
    for _ in range(5):
        with pytest.raises(SingleSignOnUnavailable):
            provider.read_metadata()
    assert len(asked) == 1


def test_what_is_known_of_a_single_sign_on_stays_in_use_while_it_is_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openid, "ASK_AGAIN_S", 1e6)
    provider = OpenIdProvider(settings, WaitLimits(24))
    known = provider.read_metadata()
    monkeypatch.setattr(openid, "METADATA_MAX_AGE_S", -1.0)
    asked = count_fetches(provider, monkeypatch, fails=True)
    assert [provider.read_metadata() for _ in range(5)] == [known] * 5
    assert len(asked) == 1


def test_others_go_on_while_one_request_asks_the_single_sign_on_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = OpenIdProvider(settings, WaitLimits(24))
    known = provider.read_metadata()
    monkeypatch.setattr(openid, "ASK_AGAIN_S", 1e6)
    monkeypatch.setattr(openid, "METADATA_MAX_AGE_S", -1.0)
    is_asking, answers = threading.Event(), threading.Event()

    def fetch_slowly() -> Any:
        is_asking.set()
        answers.wait()
        return known

    monkeypatch.setattr(provider, "_fetch_metadata", fetch_slowly)
    thread = threading.Thread(target=provider.read_metadata)
    thread.start()
    try:
        is_asking.wait()
        assert provider.read_metadata() is known
    finally:
        answers.set()
        thread.join()
