"""The prompt service reads only what its front door sends, of a length that is said, and waits for nobody for ever."""

import json
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from segmentation.prompting import connections, http_server
from segmentation.prompting.http_server import PromptServer
from waiting import PATIENCE_S, until

KEY = "the key"
HEAD = f"Authorization: Bearer {KEY}\r\nX-Minipacs-User: ann\r\n"


@pytest.fixture
def server() -> Iterator[PromptServer]:
    """A server whose service answers with what it was sent."""
    service: Any = SimpleNamespace(
        answer_prompts=lambda _user, body, _member: {"got": body},
        pictures=SimpleNamespace(segment=lambda _user, body: {"got": sorted(body)}),
        list_engines=lambda: {"engines": []},
    )
    server = PromptServer(("127.0.0.1", 0), service, KEY)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join(PATIENCE_S)
    server.server_close()


def connect(server: PromptServer) -> socket.socket:
    return socket.create_connection(server.server_address, timeout=PATIENCE_S)  # type: ignore[arg-type]


def send(server: PromptServer, request: str, body: bytes = b"") -> bytes:
    """The whole of what comes back until the server closes, or one answer of a kept connection."""
    with connect(server) as connection:
        connection.sendall(request.replace("\n", "\r\n").replace("\r\r", "\r").encode("latin-1") + body)
        answer = b""
        while not is_whole(answer) and (block := connection.recv(65536)):
            answer += block
        return answer


def is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].split(b":")[1])


def is_served(server: PromptServer) -> bool:
    body = json.dumps({"x": 1}).encode()
    answer = send(server, f"POST /prompts HTTP/1.1\n{HEAD}Content-Length: {len(body)}\n\n", body)
    return answer.startswith(b"HTTP/1.1 200") and answer.endswith(b'{"got":{"x":1}}')


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "+5", " ", "0x10", "5, 5", "9" * 40, "\u0661"])
def test_a_length_that_is_no_number_is_refused_at_once(server: PromptServer, length: str) -> None:
    raw = length.encode("utf-8").decode("latin-1")

    answer = send(server, f"POST /prompts HTTP/1.1\n{HEAD}Content-Length: {raw}\n\n")

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"Connection: close" in answer
    assert is_served(server)


@pytest.mark.parametrize("headers", ["", "Transfer-Encoding: chunked\n", "Content-Length: 2\nContent-Length: 3\n"])
def test_a_body_of_unknown_length_is_refused_at_once(server: PromptServer, headers: str) -> None:
    assert send(server, f"POST /prompts HTTP/1.1\n{HEAD}{headers}\n").startswith(b"HTTP/1.1 400")


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(server: PromptServer) -> None:
    too_much = http_server.MAX_BODY_BYTES + 1

    assert send(server, f"POST /prompts HTTP/1.1\n{HEAD}Content-Length: {too_much}\n\n").startswith(b"HTTP/1.1 413")


def test_without_the_key_no_body_is_waited_for(server: PromptServer) -> None:
    wrong = "Authorization: Bearer x\nX-Minipacs-User: ann\n"

    answer = send(server, f"POST /segment_input_image/ HTTP/1.1\n{wrong}Content-Length: 90000000\n\n")

    assert answer.startswith(b"HTTP/1.1 403")
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "half",
    [
        "",
        "POST /pro",
        f"POST /prompts HTTP/1.1\r\n{HEAD}",
        f"POST /prompts HTTP/1.1\r\n{HEAD}Content-Length: 9\r\n\r\n{{",
    ],
)
def test_a_half_sent_request_is_cut_off(server: PromptServer, monkeypatch: pytest.MonkeyPatch, half: str) -> None:
    monkeypatch.setattr(connections, "HEAD_LIMIT_S", 0.1)
    monkeypatch.setattr(connections, "BODY_LIMIT_S", 0.1)

    with connect(server) as connection:
        connection.sendall(half.encode())
        while connection.recv(65536):
            pass  # the end of the stream comes, or the test's patience ends

    until(lambda: not len(server.connections), what="the connection to be forgotten")


def test_more_half_sent_requests_than_there_is_room_for_do_not_stop_the_front_door(server: PromptServer) -> None:
    held = [connect(server) for _ in range(3 * connections.MAX_CONNECTIONS)]
    for connection in held:
        connection.sendall(b"POST /prompts HTTP/1.1\r\n") if connection.fileno() >= 0 else None

    until(lambda: len(server.connections) >= connections.MAX_CONNECTIONS, what="the places to be taken")
    assert is_served(server)
    assert len(server.connections) <= connections.MAX_CONNECTIONS

    for connection in held:
        connection.close()


def test_a_kept_connection_serves_one_request_after_the_other(server: PromptServer) -> None:
    with connect(server) as connection:
        for _ in range(3):
            connection.sendall(f"GET /prompts/engines HTTP/1.1\r\n{HEAD}\r\n".encode())
            answer = b""
            while not is_whole(answer):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
