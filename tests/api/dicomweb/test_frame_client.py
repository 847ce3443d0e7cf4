"""The client for frames: connections are kept, stale ones replaced, everything unusual is left to the other client."""

import socket
import threading
from collections.abc import Iterator

import pytest

from api.dicomweb.frame_client import FrameClient
from waiting import PATIENCE_S

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=x\r\nContent-Length: 5\r\n\r\nab\r\nc"


class Server:
    """Answers each connection's requests with what stands in `answers`, then closes it."""

    def __init__(self, answers: list[list[bytes]]) -> None:
        self.asked: list[bytes] = []
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for answers in self._answers:
            connection, _ = self._listener.accept()
            with connection:
                for answer in answers:
                    self.asked.append(connection.recv(65536))
                    connection.sendall(answer)

    def close(self) -> None:
        """Every expected connection was made."""
        self._thread.join(PATIENCE_S)
        self._listener.close()
        assert not self._thread.is_alive()


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with the test's answers."""
    server = Server(request.param)
    yield server
    server.close()


@pytest.mark.parametrize("served", [[[PLAIN, PLAIN]]], indirect=True)
def test_a_connection_is_used_again(served: Server) -> None:
    client = FrameClient(served.url)
    for _ in range(2):
        frame = client.get("/frames/1", {"Host": "here"})
        assert frame is not None
        assert (frame.body, frame.content_type) == (b"ab\r\nc", "multipart/related; boundary=x")
    client.close()
    assert served.asked == [b"GET /frames/1 HTTP/1.1\r\nHost: here\r\n\r\n"] * 2


@pytest.mark.parametrize("served", [[[PLAIN], [PLAIN]]], indirect=True)
def test_a_connection_that_was_closed_is_left_for_another(served: Server) -> None:
    client = FrameClient(served.url)
    assert client.get("/1", {}) is not None
    again = client.get("/2", {})
    assert again is not None
    assert again.body == b"ab\r\nc"
    client.close()


ODD = [
    b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]
ODD += [PLAIN[:-2], b"HTTP/1.1 200 OK\r\n"]


@pytest.mark.parametrize("served", [[[answer]] for answer in ODD], indirect=True)
def test_anything_but_a_plain_answer_is_left_to_the_general_client(served: Server) -> None:
    assert FrameClient(served.url).get("/1", {}) is None


def test_a_line_break_in_a_header_is_never_sent() -> None:
    assert FrameClient("http://127.0.0.1:1").get("/1", {"Accept": "a\r\nEvil: b"}) is None
