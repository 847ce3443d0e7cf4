"""Frames from Orthanc by the shortest way: a kept socket, the answer's head read as it is.

The general client parses each answer's head with `email`, which compiles a regular expression for every
multipart boundary: 1 ms of the 2 that Orthanc itself takes for a frame. What is not a plain 200 with
its length is None here, and asked again by the general client (`api.dicomweb.gateway`).
"""

import queue
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from api.dicomweb import orthanc_fixes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from api.context import AppContext

KEPT = 32
KEPT_S = 3600
LONGEST_HEAD = 16 * 1024
LONGEST_BODY = 256 * 2**20
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Frame:
    """A 200: its media type, and the body whole."""

    content_type: str
    body: bytes

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What the client gets to know."""
        return [("Content-Type", self.content_type), ("Cache-Control", f"private, max-age={KEPT_S}")]


def get(context: "AppContext", path: str, environ: "WSGIEnvironment") -> Frame | None:
    """A frame as this request asks for it: its path below /dicom-web/, already known to be one of a frame's."""
    host = environ.get("HTTP_HOST", "localhost")
    headers = {
        "Host": host,  # kept: Orthanc builds addresses from it
        "Forwarded": f"host={host};proto={environ['wsgi.url_scheme']}",  # RFC 7239
        "Authorization": context.orthanc_authorization,
    }
    if accept := environ.get("HTTP_ACCEPT"):
        headers["Accept"] = accept
    return context.line.get(f"/dicom-web/{orthanc_fixes.quoted(path)}", headers)


class Line:
    """Kept connections to one server, shared by threads."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._plain = parts.scheme == "http"
        self._address = (parts.hostname or "", parts.port or 80)
        self._idle: queue.LifoQueue[socket.socket] = queue.LifoQueue(KEPT)

    def get(self, target: str, headers: dict[str, str]) -> Frame | None:
        """The answer to a GET; None when the general client should ask. A connection gone stale is left."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        message = f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1", "replace")
        if not self._plain or message.count(b"\n") != len(headers) + 2:  # a line break inside a value
            return None
        while True:
            try:
                kept = self._idle.get_nowait()
            except queue.Empty:
                return self._fresh(message)
            try:
                return self._asked(kept, message)
            except OSError:  # Orthanc closes an idle connection after a second
                kept.close()

    def _fresh(self, message: bytes) -> Frame | None:
        try:
            opened = socket.create_connection(self._address, timeout=TIMEOUT_S)
        except OSError:
            return None
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return self._asked(opened, message)
        except OSError:
            opened.close()
            return None

    def _asked(self, connection: socket.socket, message: bytes) -> Frame | None:
        connection.sendall(message)
        head = b""
        while b"\r\n\r\n" not in head:
            got = connection.recv(65536)
            if not got or len(head) > LONGEST_HEAD:
                raise ConnectionError("no answer")
            head += got
        head, _, rest = head.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = fields.get("content-length", "")
        if not status.startswith("HTTP/1.1 200") or not length.isdigit() or int(length) > LONGEST_BODY:
            connection.close()
            return None
        body = bytearray(int(length))
        body[: len(rest)] = rest
        view, at = memoryview(body), len(rest)
        while at < len(body):
            got_now = connection.recv_into(view[at:])
            if not got_now:
                raise ConnectionError("the answer broke off")
            at += got_now
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()
        return Frame(fields.get("content-type", "application/octet-stream"), bytes(body))

    def close(self) -> None:
        """Close what is idle."""
        while not self._idle.empty():
            self._idle.get_nowait().close()
