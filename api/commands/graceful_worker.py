"""gunicorn's threaded worker, which at a stop also answers the connections that wait to be accepted."""

from typing import Any

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]  # it has none


class GracefulWorker(ThreadWorker):  # type: ignore[misc]
    """The stock worker leaves connections in the kernel's queue at a stop: they would be reset when it ends."""

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting; at the worker's stop, empty the queue and close the listening sockets at once."""
        super().set_accept_enabled(enabled)
        if self.alive:
            return
        for listener in self.sockets:
            while self._accept_one(listener):
                pass
            listener.close()

    def _accept_one(self, listener: Any) -> bool:
        before = self.nr_conns
        self.accept(listener)
        return bool(self.nr_conns > before)
