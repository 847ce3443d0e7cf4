"""A connection between requests: the TLS handshake, and the head of the next request, received without a thread."""

import socket
import ssl
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn import http  # type: ignore[import-untyped]  # it has none

from api.server.client_socket import ClientSocket
from api.server.refusals import TOO_LONG, make_refusal
from api.server.waiting_clients import WaitingClients

END_OF_HEAD = b"\r\n\r\n"
MAX_HEAD_BYTES = 64 * 1024
"""Of request line and headers; gunicorn's own limits, of each, are below."""
RECEIVE_BYTES = 16 * 1024
DISCARD_BYTES = 256 * 1024
MAX_DISCARDED_BYTES = 8 * 2**20
"""Received and thrown away, while the answer to a refused body is on its way."""
USE_HTTPS = make_refusal(HTTPStatus.BAD_REQUEST, "This port speaks https.", "Begin the address with https://.")
TOO_LARGE = make_refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, TOO_LONG, "Send less.")


class RequestRefused(Exception):
    """The head of a request cannot be taken; the client has been answered."""


class Connection:
    """A client's connection. The attributes without underscore up to `parser` are those gunicorn's worker reads."""

    initialized = True
    data_ready = True
    is_http2 = False

    def __init__(
        self,
        cfg: Any,
        connection: socket.socket,
        client: Any,
        server: Any,
        waiting: WaitingClients,
        context: ssl.SSLContext | None,
    ) -> None:
        connection.setblocking(False)
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.cfg, self.client, self.server = cfg, client, server
        self.sock = ClientSocket(connection, waiting)
        self.parser = http.get_parser(cfg, self.sock, client)

        self.tcp = connection
        self.expires = 0.0
        """Of `time.monotonic()`: when it is closed unless something comes before."""
        self._head = bytearray()
        self._searched = 0
        self._discarded = 0
        self._awaits_handshake = context is not None

    def init(self) -> None:
        """Nothing is left to be done in a thread."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request has come."""
        return not self._head and not self._awaits_handshake

    def receive(self) -> bool:
        """Read what has come; whether the head of a request is complete. `OSError` at the client's end."""
        if self._awaits_handshake and not self._continue_handshake():
            return False
        try:
            data = self.tcp.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if not data:
            raise ConnectionResetError("The client has closed the connection.")
        self._head += data
        return self.has_head()

    def has_head(self) -> bool:
        """Whether a whole head has been received."""
        found = self._head.find(END_OF_HEAD, max(self._searched - len(END_OF_HEAD), 0))
        self._searched = len(self._head)
        if found < 0 and len(self._head) > MAX_HEAD_BYTES:
            self._answer(TOO_LARGE)
            raise RequestRefused
        return found >= 0

    def begin_request(self) -> None:
        """Hand what has been received to the parser."""
        self.sock.begin_request()
        self.parser.unreader.unread(bytes(self._head))
        self._head.clear()
        self._searched = 0

    def end_request(self) -> None:
        """Take back what the parser has received of the next request."""
        self._head += self.parser.unreader.take_buffered()
        if isinstance(self.tcp, ssl.SSLSocket) and (decrypted := self.tcp.pending()):
            self._head += self.tcp.recv(decrypted)  # the poller does not see it

    def expire_in(self, seconds: float) -> None:
        """Give the connection so long until something comes."""
        self.expires = time.monotonic() + seconds

    def shut_down(self) -> None:
        """Say that nothing more is sent; the client may still be sending."""
        with suppress(OSError, ValueError):
            if isinstance(self.tcp, ssl.SSLSocket):
                self.tcp.unwrap()
        with suppress(OSError):
            socket.socket.shutdown(self.tcp, socket.SHUT_WR)

    def discard(self) -> bool:
        """Throw away what has come; False when the client has ended, or sent too much."""
        try:
            data = socket.socket.recv(self.tcp, DISCARD_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._discarded += len(data)
        return bool(data) and self._discarded < MAX_DISCARDED_BYTES

    def close(self, graceful: bool = False) -> None:
        """Close the socket."""
        self.tcp.close()

    def _continue_handshake(self) -> bool:
        assert isinstance(self.tcp, ssl.SSLSocket)
        try:
            self.tcp.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                self._answer(USE_HTTPS)
                raise RequestRefused from error
            raise
        self._awaits_handshake = False
        return True

    def _answer(self, data: bytes) -> None:
        """Answer without a request, as far as the kernel takes it at once; in plain HTTP before a handshake."""
        with suppress(OSError):
            if self._awaits_handshake:
                socket.socket.send(self.tcp, data)
            else:
                self.tcp.send(data)
