"""Dask's scheduler and worker, without the HTTP server that each of them opens beside its own port.

That server shows tasks, logs and addresses to everybody who reaches it; our own `/metrics` and `/where` replace it.
"""

from collections.abc import Sequence
from typing import Any

from distributed import Scheduler, Worker


class SchedulerWithoutHttp(Scheduler):
    """A scheduler that listens at its own port alone."""

    def start_http_server(self, routes: Sequence[Any], dashboard_address: Any, *_: Any, **__: Any) -> None:
        """Open nothing."""


class WorkerWithoutHttp(Worker):
    """A worker that listens at its own port alone."""

    def start_http_server(self, routes: Sequence[Any], dashboard_address: Any, *_: Any, **__: Any) -> None:
        """Open nothing."""
