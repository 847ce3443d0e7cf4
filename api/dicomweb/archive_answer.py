"""An answer of the archive, of which each piece is waited for as long as `ArchiveWaits` allows.

So an archive that sends heads and then stalls holds no more threads of the front door than one that sends nothing.
"""

import socket
from collections.abc import Iterator
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from api.web.wait_limits import ArchiveWaits

BLOCK_BYTES = 256 * 1024
LONGEST_S = 300.0
"""For the next piece."""


class _SocketKeeper(HTTPConnection):
    """Its responses know their socket, which an answer that ends its connection takes away from it."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3's own
        own = self.sock
        response = super().getresponse()
        response.archive_socket = own  # type: ignore[attr-defined]
        return response


class _PlainConnection(_SocketKeeper):
    """HTTP."""


class _TlsConnection(_SocketKeeper, HTTPSConnection):
    """HTTPS."""


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def make_archive_connections(kept: int) -> urllib3.PoolManager:
    """Connections whose answers can be an `ArchiveAnswer`; so many are kept."""
    connections = urllib3.PoolManager(maxsize=kept, block=False)
    connections.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
    return connections


class ArchiveAnswer:
    """The head of an answer, and its body as it comes. Errors are urllib3's, and `FrontDoorBusy`."""

    def __init__(self, response: Any, waits: ArchiveWaits) -> None:
        self.status: int = response.status
        self.headers: urllib3.HTTPHeaderDict = response.headers
        self._response = response
        self._socket: socket.socket = response.archive_socket
        self._waits = waits
        self._first_block: bytes | None = None

    def wait_for_first_block(self) -> None:
        """Keep the first block of the body for who iterates."""
        try:
            self._first_block = self._read_block()
        except Exception:
            self.close()
            raise

    def read(self) -> bytes:
        """All that is left of the body."""
        return b"".join(self.iterate_blocks())

    def iterate_blocks(self) -> Iterator[bytes]:
        """The body, piece by piece; the connection is kept where it came to its end, else closed."""
        try:
            block = self._read_block() if self._first_block is None else self._first_block
            while block:
                yield block
                block = self._read_block()
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection, unless the body has come to its end."""
        self._response.close()

    def _read_block(self) -> bytes:
        with self._waits.wait_for_body(LONGEST_S) as timeout_s:
            if self._socket.fileno() >= 0:  # closed where the answer has ended
                self._socket.settimeout(timeout_s)
            block: bytes = self._response.read1(BLOCK_BYTES, decode_content=False)
        return block
