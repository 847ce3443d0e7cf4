"""A client's socket, as gunicorn's parser and responses use one: its waits hold no slot, and they end."""

import errno
import os
import select
import socket
import ssl
import time
from contextlib import suppress
from typing import IO

from api.server.waiting_clients import WaitingClients

IDLE_S = 30.0
"""A client that neither sends nor reads a byte for so long is disconnected."""
GRACE_S = 20.0
"""So long may be waited for a client, in all, before the least rate holds."""
LEAST_BYTES_PER_S = 1000.0
"""A client that is slower than this, beyond the time of grace, is disconnected."""
SHORT_WAIT_S = 0.005
"""A wait that ends within so long keeps its slot: a fast client costs no change of threads."""
BLOCK_BYTES = 256 * 1024
SENDFILE_BYTES = 16 * 2**20


class ClientSocket:
    """A non-blocking socket, plain or TLS, with the methods of a blocking one."""

    def __init__(self, connection: socket.socket, waiting: WaitingClients) -> None:
        self._socket = connection
        self._waiting = waiting
        self._timeout_s: float | None = None
        self._bytes = 0
        self._waited_s = 0.0

    @property
    def rate(self) -> float:
        """Bytes a second, since it was first waited for."""
        return self._bytes / max(self._waited_s, 0.001)

    def begin_request(self) -> None:
        """Count bytes and waits anew."""
        self._bytes, self._waited_s = 0, 0.0

    def recv(self, size: int) -> bytes:
        """What has come, at most so many bytes; empty at the end."""
        while True:
            try:
                data = self._socket.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            else:
                self._bytes += len(data)
                return data

    def send(self, data: bytes) -> int:
        """Send all of it."""
        self.sendall(data)
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        rest = memoryview(data)
        while rest:
            try:
                sent = self._socket.send(rest[:BLOCK_BYTES])
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(select.POLLOUT)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            else:
                self._bytes += sent
                rest = rest[sent:]

    def sendfile(self, file: IO[bytes], offset: int, count: int) -> None:
        """Send a part of a file without reading it; not with TLS."""
        end = offset + count
        while offset < end:
            try:
                sent = os.sendfile(self.fileno(), file.fileno(), offset, min(end - offset, SENDFILE_BYTES))
            except BlockingIOError:
                self._wait(select.POLLOUT)
                continue
            if not sent:
                return
            self._bytes += sent
            offset += sent

    def fileno(self) -> int:
        """The file descriptor."""
        return self._socket.fileno()

    def setblocking(self, blocking: bool) -> None:
        """The socket itself never blocks: nothing to do."""

    def settimeout(self, seconds: float | None) -> None:
        """Limit each wait, beside the limits that always hold."""
        self._timeout_s = seconds

    def gettimeout(self) -> float | None:
        """The limit of each wait that was set."""
        return self._timeout_s

    def disconnect(self) -> None:
        """End the connection, from any thread: whoever waits for it sees its end."""
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # of TCP, not of TLS: no other thread's state

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _wait(self, event: int) -> None:
        """Wait until the client sends or reads; `ConnectionResetError` where it is too slow."""
        if not self._waited_s:
            self._bytes = 0  # what fitted into the kernel's buffers says nothing of the client
        allowed_s = min(IDLE_S, GRACE_S + self._bytes / LEAST_BYTES_PER_S - self._waited_s)
        if self._timeout_s is not None:
            allowed_s = min(allowed_s, self._timeout_s)

        poll = select.poll()
        poll.register(self._socket, event)
        if poll.poll(SHORT_WAIT_S * 1000):
            return
        began = time.monotonic()
        with self._waiting.wait_for(self):
            is_ready = poll.poll(max(allowed_s, 0) * 1000)
            self._waited_s += time.monotonic() - began
        if not is_ready:
            raise ConnectionResetError(errno.ECONNRESET, "The client is too slow.")
