"""gunicorn's threaded worker, which on a stop also answers what already waits at the door."""

import contextlib
import select
from typing import Any

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]  # it has none


class Worker(ThreadWorker):  # type: ignore[misc]
    """Connections the kernel has taken, but nobody accepted, would be reset when the listener is closed."""

    def set_accept_enabled(self, enabled: bool) -> None:
        """At the stop: take everybody in, then close the door at once, so that nobody else queues."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
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
