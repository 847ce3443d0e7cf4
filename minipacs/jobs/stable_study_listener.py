"""Receives the notifications of Orthanc's plugin: UDP datagrams `stable <Orthanc's study identifier> <signature>`.

The signature is an HMAC-SHA256 under the password that we have at Orthanc: both ends know it, nobody else does. A
datagram that is sent again says again what was true: the study is looked at once more.
"""

import hmac
import socket
import time

MAX_DATAGRAM_BYTES = 512
MAX_STUDIES = 1000
"""Studies of one call; further datagrams wait for the next."""
POLL_S = 0.001
"""How long the socket waits for further datagrams when one has come, or when no time is left."""
DRAIN_S = 0.05
"""How long datagrams that have come already are read after the time is over."""


class StableStudyListener:
    """A bound UDP socket. Raises `OSError` when the port is not free."""

    def __init__(self, address: tuple[str, int], key: str) -> None:
        self._key = key
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it is bound to."""
        host, port = self._socket.getsockname()
        return str(host), int(port)

    def receive(self, timeout_s: float) -> set[str]:
        """Orthanc's identifiers of the studies notified now; waits up to `timeout_s` for the first.

        Datagrams of another form, or without the signature of our key, are ignored. However many come, it returns.
        """
        study_ids: set[str] = set()
        deadline = time.monotonic() + timeout_s

        while (left_s := deadline - time.monotonic()) > -DRAIN_S and len(study_ids) < MAX_STUDIES:
            self._socket.settimeout(POLL_S if study_ids else max(left_s, POLL_S))
            try:
                datagram = self._socket.recv(MAX_DATAGRAM_BYTES)
            except TimeoutError:
                break

            message, _, signature = datagram.rpartition(b" ")
            if message.startswith(b"stable ") and hmac.compare_digest(signature, _sign(message, self._key)):
                study_ids.add(message.removeprefix(b"stable ").decode("ascii", "replace"))
        return study_ids

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _sign(message: bytes, key: str) -> bytes:
    return hmac.digest(key.encode(), message, "sha256").hex().encode()
