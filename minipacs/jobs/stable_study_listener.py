"""Receives the notifications of Orthanc's plugin: UDP datagrams `stable <Orthanc's study identifier>`."""

import socket
import time

MAX_DATAGRAM_BYTES = 512
POLL_S = 0.001
"""How long the socket waits for further datagrams when one has come, or when no time is left."""


class StableStudyListener:
    """A bound UDP socket. Raises `OSError` when the port is not free."""

    def __init__(self, address: tuple[str, int]) -> None:
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

        Datagrams of another form are ignored.
        """
        study_ids: set[str] = set()
        deadline = time.monotonic() + timeout_s

        while True:
            left_s = deadline - time.monotonic()
            self._socket.settimeout(POLL_S if study_ids else max(left_s, POLL_S))
            try:
                datagram = self._socket.recv(MAX_DATAGRAM_BYTES)
            except TimeoutError:
                return study_ids

            word, _, study_id = datagram.decode("ascii", "replace").partition(" ")
            if word == "stable" and study_id:
                study_ids.add(study_id.strip())

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
