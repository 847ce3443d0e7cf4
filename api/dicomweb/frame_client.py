"""A small HTTP client for frames: connections are kept, and a head of a response is read without `email`.

The general client (urllib3) parses each head with `email`, which compiles a regular expression for every
multipart boundary: 1 ms of the 2 that Orthanc itself takes for a frame. A response that is not a plain 200
with its length is None here, and requested again by the general client (`api.dicomweb.gateway`).
"""

import queue
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_IDLE_CONNECTIONS = 32
MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 256 * 2**20
TIMEOUT_S = 60.0
BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Frame:
    """The body of a 200, whole, and its media type."""

    content_type: str
    body: bytes


class FrameClient:
    """Connections to one server, kept and shared by threads."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._is_plain_http = parts.scheme == "http"
        self._address = (parts.hostname or "", parts.port or 80)
        self._idle: queue.LifoQueue[socket.socket] = queue.LifoQueue(MAX_IDLE_CONNECTIONS)

    def get(self, target: str, headers: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> Frame | None:
        """Request a target by GET; None when the general client should do it. Raises `TimeoutError`."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1", "replace")
        has_injected_line = request.count(b"\n") != len(headers) + 2
        if not self._is_plain_http or has_injected_line:
            return None

        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                break
            try:
                connection.settimeout(timeout_s)
                return self._send_and_read(connection, request)
            except TimeoutError:
                connection.close()
                raise
            except OSError:  # Orthanc closes an idle connection after a second: try the next one
                connection.close()
        return self._get_on_new_connection(request, timeout_s)

    def close(self) -> None:
        """Close the idle connections."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _get_on_new_connection(self, request: bytes, timeout_s: float) -> Frame | None:
        try:
            connection = socket.create_connection(self._address, timeout=timeout_s)
        except TimeoutError:
            raise
        except OSError:
            return None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return self._send_and_read(connection, request)
        except TimeoutError:
            connection.close()
            raise
        except OSError:
            connection.close()
            return None

    def _send_and_read(self, connection: socket.socket, request: bytes) -> Frame | None:
        """Send a request and read its response; afterwards the connection is idle, or closed."""
        connection.sendall(request)
        head, body_start = _read_response_head(connection)
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        fields = {name.strip().lower(): value.strip() for name, _, value in pairs}

        length = fields.get("content-length", "")
        if not status.startswith("HTTP/1.1 200") or not length.isdigit() or int(length) > MAX_BODY_BYTES:
            connection.close()
            return None

        body = _read_response_body(connection, body_start, int(length))
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()
        return Frame(fields.get("content-type", "application/octet-stream"), body)


def _read_response_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of a response without its empty line, and what came of the body with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(BLOCK_BYTES)
        if not block or len(data) > MAX_HEAD_BYTES:
            raise ConnectionError("The server sent no head.")
        data += block
    head, _, body_start = data.partition(b"\r\n\r\n")
    return head, body_start


def _read_response_body(connection: socket.socket, start: bytes, length: int) -> bytes:
    """The body, whose first bytes have come already."""
    body = bytearray(length)
    body[: len(start)] = start
    view, position = memoryview(body), len(start)
    while position < length:
        count = connection.recv_into(view[position:])
        if not count:
            raise ConnectionError("The body broke off.")
        position += count
    return bytes(body)
