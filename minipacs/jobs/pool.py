"""The pool: workers of our own on this machine, or those of an existing Dask scheduler.

The embedded pool is a scheduler in this process, and worker processes that are started again when they
end. (Dask's own nannies give up after a few dozen deaths in a row, and a worker that dies while it
starts ends the whole pool.)
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

import dask
from distributed import Client, LocalCluster

from minipacs.errors import PoolUnavailable
from minipacs.jobs.worker import QUIET
from minipacs.settings import Settings

RESTART_DELAYS_S = (0.0, 0.0, 0.0, 1.0, 5.0)
"""Wait before a worker is started again, by how often it ended in the last minute; then the last one."""
CONNECTION_TIMEOUT_S = 5.0
"""Longest wait for the scheduler when a client connects; the callers try again."""
CLOSE_TIMEOUT_S = 2.0
"""Longest wait for the scheduler when a client closes."""

log = logging.getLogger(__name__)


class Pool(Protocol):
    """What the runner needs of a pool; call `maintain` often."""

    client: Client

    def maintain(self) -> bool:
        """Repair what has broken; whether earlier submissions are still known. Raises `PoolUnavailable`."""

    def workers(self) -> list[dict[str, Any]]:
        """What the scheduler says of each worker. Raises `PoolUnavailable`."""

    def close(self) -> None:
        """Close the connection, and end the workers that are ours."""


class RemotePool:
    """The workers of a scheduler somewhere; a scheduler that comes again is connected to again."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.scheduler
        self.client = self._connect()

    def maintain(self) -> bool:
        """Replace a client that lost its scheduler: it has forgotten its submissions."""
        if self.client.status == "running":
            return True
        self.client.close(timeout=0.5)
        self.client = self._connect()
        return False

    def workers(self) -> list[dict[str, Any]]:
        """Those that are connected now."""
        return _workers(self.client)

    def close(self) -> None:
        """The workers go on with what they do."""
        self.client.close(timeout=CLOSE_TIMEOUT_S)

    def _connect(self) -> Client:
        try:
            return Client(self._address, set_as_default=False, timeout=CONNECTION_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            raise PoolUnavailable(
                f"No Dask scheduler answers at {self._address}.", "Start it, or correct MINIPACS_SCHEDULER."
            ) from error


class EmbeddedPool:
    """A scheduler in this process, with as many workers as the settings say."""

    def __init__(self, settings: Settings) -> None:
        with dask.config.set({**QUIET, "temporary-directory": str(settings.home / "pool")}):
            self._cluster = LocalCluster(
                n_workers=0,
                host="127.0.0.1",
                protocol="tcp://",
                silence_logs=logging.ERROR,
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            )
        environment = {
            **os.environ,
            **settings.as_environment(),
            "MINIPACS_SCHEDULER": str(self._cluster.scheduler_address),
        }
        self._slots = [_Slot(environment, "cpu") for _ in range(settings.workers)]
        for number in range(settings.gpus):
            self._slots.append(_Slot({**environment, "CUDA_VISIBLE_DEVICES": str(number)}, "gpu"))
        self.client = Client(self._cluster, set_as_default=False)

    def maintain(self) -> bool:
        """Start workers that ended again."""
        for slot in self._slots:
            slot.maintain()
        return True

    def workers(self) -> list[dict[str, Any]]:
        """Those that are ready."""
        return _workers(self.client)

    def close(self) -> None:
        """End the workers, then the scheduler."""
        for slot in self._slots:
            slot.stop()
        self.client.close(timeout=CLOSE_TIMEOUT_S)
        self._cluster.close(timeout=CLOSE_TIMEOUT_S)


def _workers(client: Client) -> list[dict[str, Any]]:
    try:
        return list(client.scheduler_info(n_workers=-1)["workers"].values())
    except (OSError, TimeoutError) as error:
        raise PoolUnavailable("The Dask scheduler does not answer.", "See its log.") from error


class _Slot:
    """One slot of the pool, and the worker process that fills it."""

    def __init__(self, environment: Mapping[str, str], needs: str) -> None:
        self._environment, self._needs = environment, needs
        self._ended: list[float] = []
        """When a process of this slot was seen to have ended, in the last minute; on the monotonic clock."""
        self._process = self._start()

    def maintain(self) -> None:
        """Fill the slot again, at once; later, if that did not help the last times."""
        now = time.monotonic()
        if self._process is not None and self._process.poll() is not None:
            log.warning("a worker of the pool ended (%s); another is started", self._process.returncode)
            self._ended = [t for t in self._ended if now - t < 60] + [now]
            self._process = None

        if self._process is None:
            delay_s = RESTART_DELAYS_S[min(len(self._ended), len(RESTART_DELAYS_S)) - 1]
            if now - self._ended[-1] >= delay_s:
                self._process = self._start()

    def stop(self) -> None:
        """Kill the process; the runner queues its work again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self) -> "subprocess.Popen[bytes] | None":
        command = [sys.executable, "-m", "minipacs.jobs.worker", str(os.getpid()), self._needs]
        return subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL)
