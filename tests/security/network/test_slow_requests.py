"""Clients that are slow, or never end what they begin: everybody else is answered meanwhile."""

from collections.abc import Iterator

import pytest

from front_door import LARGE_FILE, FrontDoor, running_front_door
from slow_clients import Attack, attacking, attacks, connect, longest_answer_s, read_status
from waiting import LOOK_S, until

CONNECTIONS = 300
ASKED = ("/healthz", "/studies", "/dicom-web/studies")


@pytest.fixture(scope="module")
def front_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    """A front door by plain http."""
    with running_front_door(tmp_path_factory.mktemp("home")) as door:
        yield door


@pytest.mark.parametrize("attack", attacks("/upload", LARGE_FILE), ids=lambda attack: attack.name)
@pytest.mark.parametrize("with_login", [True, False], ids=["with login", "without login"])
def test_a_slow_client_does_not_stop_others(front_door: FrontDoor, attack: Attack, with_login: bool) -> None:
    """Hundreds at once; on a machine with nothing else to do each answer takes less than a second."""
    path_of_body = "/upload" if with_login else "/login"
    kinds = {one.name: one for one in attacks(path_of_body, LARGE_FILE, front_door.login if with_login else "")}

    with attacking(kinds[attack.name], front_door.port, CONNECTIONS) as standing:
        until(lambda: standing.opened >= CONNECTIONS, what="all connections of the attack")
        for path in ASKED:
            assert longest_answer_s(lambda path=path: front_door.ask(path), 1.0) < LOOK_S  # type: ignore[misc]


def test_thousands_of_idle_connections_do_not_stop_others(front_door: FrontDoor) -> None:
    """The worker's own limit on connections was 1000: beyond it nobody was let in."""
    with attacking(Attack("idle", b""), front_door.port, 3000) as standing:
        until(lambda: standing.opened >= 3000, what="all connections")
        for path in ASKED:
            front_door.ask(path)


def test_a_client_that_never_ends_its_headers_is_disconnected(front_door: FrontDoor) -> None:
    assert read_status(front_door.port, b"GET / HTTP/1.1\r\nX-Slow: ") == 0


def test_a_request_that_follows_at_once_is_answered(front_door: FrontDoor) -> None:
    """Pipelined: what came behind a request is the beginning of the next one."""
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(front_door.port) as connection:
        connection.sendall(one * 3 + one[:20])
        connection.sendall(one[20:].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answers = b""
        while got := connection.recv(65536):
            answers += got
    assert answers.count(b"HTTP/1.1 200 OK") == 4
