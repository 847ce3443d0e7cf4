"""gunicorn's threaded worker, with everything that a slow client does taken out of its threads.

The main loop accepts connections, makes TLS handshakes and receives heads of requests; a thread gets a request whose
head is complete. What waits for a client while a body is read or an answer is sent holds no slot
(`waiting_clients.py`). Connections without a request have a time limit each and a limit on their number: beyond it,
the one that has waited longest is closed, never a new one refused.
"""

import errno
import resource
import socket
import ssl
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any

from gunicorn.http import wsgi  # type: ignore[import-untyped]  # it has none
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from api.server.connection import Connection, RequestRefused
from api.server.refusals import make_refusal, refuse_for
from api.server.request_body import FileBlocks, RequestBody, Response
from api.server.tls import make_server_context
from api.server.waiting_clients import WaitingClients

MAX_WAITING = 232
"""Threads that wait for clients, beside those that work."""
HEAD_S = 10.0
"""From the first byte of a request (or the connection) to the end of its head."""
KEEP_ALIVE_S = 30.0
"""A connection without a request for so long is closed."""
STOP_KEEP_ALIVE_S = 2.0
"""The same when the server stops."""
DISCARD_S = 2.0
"""A client whose body was refused has so long to receive the answer."""
ACCEPTED_AT_ONCE = 64
RESERVED_FILES = 512
"""File descriptors for everything but connections."""
MAX_CONNECTIONS = 16_384
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UNSENT_BYTES = 256 * 1024
"""What the kernel keeps of an answer that its client does not read."""

Waiting = dict[Connection, None]
"""Connections in the order in which their time is over."""


class FrontDoorWorker(ThreadWorker):  # type: ignore[misc]
    """The worker of `minipacs api`. Names without underscore are gunicorn's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting = WaitingClients(self.cfg.threads, MAX_WAITING)
        self._idle: Waiting = {}
        self._receiving: Waiting = {}
        self._closing: Waiting = {}
        self._context: ssl.SSLContext | None = None
        self.worker_connections = self.max_keepalived = 10**9  # its own limits would refuse new connections
        self._max_connections = MAX_CONNECTIONS

    def init_process(self) -> None:
        """Make what the process needs before it serves."""
        if self.cfg.is_ssl:
            self._context = make_server_context(self.cfg.certfile, self.cfg.keyfile)
        self._max_connections = min(MAX_CONNECTIONS, _raise_file_limit() - RESERVED_FILES)
        for listener in self.sockets:  # the sockets of connections inherit it
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Threads for all who work and all who wait."""
        return ThreadPoolExecutor(self.cfg.threads + MAX_WAITING)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting; at the worker's stop, empty the queue and close the listening sockets at once."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:  # a worker may be told to stop before it accepts
            return
        for listener in self.sockets:
            while self._accept_one(listener):
                pass
            listener.close()

    def accept(self, listener: Any) -> None:
        """Accept those who wait to be accepted."""
        for _ in range(ACCEPTED_AT_ONCE):
            if not self._accept_one(listener):
                return

    def finish_request(self, conn: Connection, fs: "Future[bool]") -> None:
        """After a request: wait for the next one, or close."""
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self._close_after_answer(conn)
            return
        conn.end_request()
        self._await_request(conn)

    def handle(self, conn: Connection) -> Any:
        """Handle a request, in a thread."""
        with self._waiting.work():
            conn.begin_request()
            return super().handle(conn)

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Call the application; whether the connection stays open."""
        asks_first, req._expected_100_continue = req._expected_100_continue, False
        body = RequestBody(
            req.body, partial(conn.sock.sendall, b"HTTP/1.1 100 Continue\r\n\r\n") if asks_first else None
        )
        response, environ = wsgi.create(
            req, conn.sock, conn.client, conn.server, self.cfg, response_class=Response, response_args=(body,)
        )
        environ["wsgi.input"], environ["wsgi.file_wrapper"], environ["wsgi.multithread"] = body, FileBlocks, True
        if not self.alive:
            response.force_close()
        self._send_answer(response, environ)
        return not response.should_close()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what could not be read or handled. The log gets its kind, not its words: they may name a patient."""
        refusal = refuse_for(exc)
        if refusal is None:
            self.log.error("A request failed: %s", type(exc).__name__)
            refusal = make_refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "The server made a mistake.", "See its log.")
        with suppress(OSError):
            client.sendall(refusal)

    def _send_answer(self, response: Any, environ: dict[str, Any]) -> None:
        answer = self.wsgi(environ, response.start_response)
        try:
            if isinstance(answer, FileBlocks):
                response.write_file(answer)
            else:
                for piece in answer:
                    response.write(piece)
            response.close()
        except Exception as error:
            if response.headers_sent:  # another answer behind a part of this one would be taken for its rest
                if not isinstance(error, OSError):
                    self.log.exception("An answer broke off.")
                raise StopIteration from error
            raise
        finally:
            if hasattr(answer, "close"):
                answer.close()

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        return keepalive  # a body that was not read has ended the connection already

    def murder_keepalived(self, force: bool = False) -> None:
        """Close the connections whose time is over, or all."""
        now = time.monotonic()
        for waiting in (self._idle, self._receiving, self._closing):
            for conn in list(waiting) if force else _take_expired(waiting, now):
                self._close(conn)

    def murder_pending(self) -> None:
        """Nothing more: see `murder_keepalived`."""

    def _cap_keepalive(self, deadline: float) -> None:
        for conn in self._idle:
            conn.expires = min(conn.expires, deadline)

    def _accept_one(self, listener: Any) -> bool:
        """Accept a connection; False where none waits."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._close_oldest()
            elif error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED):
                raise
            return False
        try:
            conn = Connection(self.cfg, client, address, listener.getsockname(), self._waiting, self._context)
        except OSError:  # it has ended already
            client.close()
            return True

        self.nr_conns += 1
        if self.nr_conns > self._max_connections:
            self._close_oldest()
        conn.expire_in(HEAD_S)
        self._receiving[conn] = None
        self.poller.register(conn.tcp, EVENT_READ, partial(self._receive, conn))
        return True

    def _await_request(self, conn: Connection) -> None:
        """Wait for the head of the next request, of which some may have come."""
        try:
            if conn.has_head():
                self.enqueue_req(conn)
                return
        except RequestRefused:
            self._close_after_answer(conn)
            return
        if conn.is_idle:
            conn.expire_in(KEEP_ALIVE_S if self.alive else STOP_KEEP_ALIVE_S)
            self._idle[conn] = None
        else:
            conn.expire_in(HEAD_S)
            self._receiving[conn] = None
        self.poller.register(conn.tcp, EVENT_READ, partial(self._receive, conn))

    def _receive(self, conn: Connection, _socket: Any) -> None:
        """Receive what has come; give a whole head to a thread."""
        try:
            is_complete = conn.receive()
        except RequestRefused:
            self._stop_waiting_for(conn)
            self._close_after_answer(conn)
            return
        except (OSError, ValueError):
            self._close(conn)
            return
        if is_complete:
            self._stop_waiting_for(conn)
            self.enqueue_req(conn)
        elif conn in self._idle:  # the head has its own time limit, from its first byte
            del self._idle[conn]
            conn.expire_in(HEAD_S)
            self._receiving[conn] = None

    def _close_after_answer(self, conn: Connection) -> None:
        """Close; where the client may still be sending, so that it receives the answer first (RFC 9112 9.6)."""
        conn.shut_down()
        conn.expire_in(DISCARD_S)
        self._closing[conn] = None
        try:
            self.poller.register(conn.tcp, EVENT_READ, partial(self._discard, conn))
        except (OSError, ValueError):  # closed already
            self._close(conn)

    def _discard(self, conn: Connection, _socket: Any) -> None:
        if not conn.discard():
            self._close(conn)

    def _close_oldest(self) -> None:
        """Close the connection that has waited longest of those that do nothing, to make room."""
        for waiting in sorted((self._closing, self._idle, self._receiving), key=len, reverse=True):
            if waiting:
                self._close(next(iter(waiting)))
                return

    def _close(self, conn: Connection) -> None:
        if conn.tcp.fileno() < 0:  # closed to make room, while its client had sent something
            return
        self._stop_waiting_for(conn)
        self.nr_conns -= 1
        conn.close()

    def _stop_waiting_for(self, conn: Connection) -> None:
        for waiting in (self._idle, self._receiving, self._closing):
            waiting.pop(conn, None)
        with suppress(KeyError, ValueError, OSError):
            self.poller.unregister(conn.tcp)


def _take_expired(waiting: Waiting, now: float) -> list[Connection]:
    """Those whose time is over: they stand first."""
    expired = []
    for conn in waiting:
        if conn.expires > now:
            break
        expired.append(conn)
    return expired


def _raise_file_limit() -> int:
    """Let the process have as many open files as it may; how many that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_CONNECTIONS + RESERVED_FILES if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
