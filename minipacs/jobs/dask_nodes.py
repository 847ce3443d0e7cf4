"""Dask's scheduler and worker, as far as others can reach them: nothing but one port, which no stranger can occupy.

Dask opens an HTTP server beside each port, which shows tasks, logs and addresses to everybody; our own `/metrics` and
`/where` replace it. And it waits for ever for the certificate of who has connected: connections without one would use
up the process's files.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from distributed import Scheduler, Worker
from distributed.comm.registry import backends
from distributed.comm.tcp import TLSBackend, TLSListener
from tornado.iostream import IOStream

HANDSHAKE_TIMEOUT_S = 30.0
"""Time a connection has to show its certificate; on a busy machine a handshake takes seconds."""
MAX_HANDSHAKES = 64
"""Connections that have not shown it yet; one more, and the oldest of them is closed."""


class SchedulerWithoutHttp(Scheduler):
    """A scheduler that listens at its own port alone."""

    def start_http_server(self, routes: Sequence[Any], dashboard_address: Any, *_: Any, **__: Any) -> None:
        """Open nothing."""


class WorkerWithoutHttp(Worker):
    """A worker that listens at its own port alone."""

    def start_http_server(self, routes: Sequence[Any], dashboard_address: Any, *_: Any, **__: Any) -> None:
        """Open nothing."""


class BoundedTLSListener(TLSListener):
    """A listener that keeps few connections without a certificate, and none for long."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self._handshakes: list[IOStream] = []
        """Connections whose certificate has not been seen, the oldest first."""

    async def _prepare_stream(self, stream: IOStream, address: str) -> IOStream | None:
        """The connection once its certificate has been seen; `None` where that fails."""
        self._handshakes.append(stream)
        if len(self._handshakes) > MAX_HANDSHAKES:
            self._handshakes.pop(0).close()
        try:
            handshake = super()._prepare_stream(stream, address)  # type: ignore[no-untyped-call]
            return await asyncio.wait_for(handshake, HANDSHAKE_TIMEOUT_S)
        except TimeoutError:
            stream.close()
            return None
        finally:
            if stream in self._handshakes:
                self._handshakes.remove(stream)


class BoundedTLSBackend(TLSBackend):
    """Dask's `tls://`, with that listener."""

    _listener_class = BoundedTLSListener


backends["tls"] = BoundedTLSBackend()
