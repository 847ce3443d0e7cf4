"""gunicorn's threaded worker, which on a stop also answers what already waits at the door."""

import contextlib
import ctypes
import select
import socket
import struct
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]  # it has none

SO_ATTACH_FILTER = 26
NO_NEWCOMERS = b"".join(
    struct.pack("HBBI", *step)
    for step in ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 2**32 - 1))
)
"""Classic BPF on a TCP header: what has SYN without ACK is dropped, and comes again by itself a second later."""
HANDSHAKE_S = 0.1
"""For handshakes that had begun when newcomers were turned away."""


class Worker(ThreadWorker):  # type: ignore[misc]
    """Connections the kernel has taken, but nobody accepted, would be reset when the listener is closed."""

    def set_accept_enabled(self, enabled: bool) -> None:
        """At the stop: take everybody in, then close the door at once, so that nobody else queues."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            _turn_newcomers_away(listener.sock)
        time.sleep(HANDSHAKE_S)
        for listener in self.sockets:
            self._take_in(listener)
            with contextlib.suppress(OSError):
                listener.close()

    def _take_in(self, listener: Any) -> None:
        while select.select([listener.sock], [], [], 0)[0]:
            before = self.nr_conns
            self.accept(listener)
            if self.nr_conns == before:
                return


def _turn_newcomers_away(listener: socket.socket) -> None:
    """Who arrived between the last look and the close would be reset. Without a kernel that filters: as before."""
    steps = ctypes.create_string_buffer(NO_NEWCOMERS, len(NO_NEWCOMERS))
    program = struct.pack("HL", len(NO_NEWCOMERS) // 8, ctypes.addressof(steps))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
