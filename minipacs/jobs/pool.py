"""The pool: workers of our own on this machine, or those of an existing Dask scheduler.

The embedded pool is a scheduler in this process, and worker processes that are started again when they
end. (Dask's own nannies give up after a few dozen deaths in a row, and a worker that dies while it
starts ends the whole pool.) It listens on loopback, and talks to nobody but the holder of a key that
each start makes anew (`pool_security.py`).
"""

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Protocol

import dask
from distributed import Client, SpecCluster

from minipacs.child_process import ChildProcess
from minipacs.errors import PoolUnavailable
from minipacs.jobs.dask_nodes import SchedulerWithoutHttp
from minipacs.jobs.pool_security import create_pool_certificates, load_pool_security
from minipacs.jobs.worker import DASK_CONFIG
from minipacs.jobs.worker_secrets import WORKER_SECRETS
from minipacs.settings import Settings
from minipacs.temporary_folders import temporary_folder

CONNECTION_TIMEOUT_S = 5.0
"""Longest wait for the scheduler when a client connects; the callers try again."""
LOOPBACK = "127.0.0.1"
"""Where the embedded pool listens, at any free ports."""
CLOSE_TIMEOUT_S = 2.0
"""Longest wait for the scheduler when a client closes."""

log = logging.getLogger(__name__)


class Pool(Protocol):
    """What the runner needs of a pool; call `maintain` often."""

    client: Client

    def maintain(self) -> bool:
        """Repair what has broken; whether earlier submissions are still known. Raises `PoolUnavailable`."""

    def count_slots(self) -> dict[str, int]:
        """How many jobs of each need the workers can run at once. Raises `PoolUnavailable`."""

    def close(self) -> None:
        """Close the connection, and end the workers that are ours."""


class RemotePool:
    """The workers of a scheduler somewhere; a scheduler that comes again is connected to again."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.scheduler
        self._security = load_pool_security(settings)
        self.client = self._connect()

    def maintain(self) -> bool:
        """Replace a client that lost its scheduler: it has forgotten its submissions."""
        if self.client.status == "running":
            return True
        self.client.close(timeout=0.5)
        self.client = self._connect()
        return False

    def count_slots(self) -> dict[str, int]:
        """Slots of the workers that are connected now."""
        return _count_slots(self.client)

    def close(self) -> None:
        """Close the connection; the workers go on with what they do."""
        self.client.close(timeout=CLOSE_TIMEOUT_S)

    def _connect(self) -> Client:
        try:
            return Client(self._address, security=self._security, set_as_default=False, timeout=CONNECTION_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            raise PoolUnavailable(
                f"No Dask scheduler answers at {self._address}.",
                "Start it, or correct MINIPACS_SCHEDULER and its certificates.",
            ) from error


class EmbeddedPool:
    """A scheduler in this process, with as many workers as the settings say."""

    def __init__(self, settings: Settings) -> None:
        with ExitStack() as opened:
            folder = opened.enter_context(temporary_folder(settings.home / "pool"))
            folder.chmod(0o700)
            secured = create_pool_certificates(replace(settings, scheduler=f"tls://{LOOPBACK}:0"), folder)
            security = load_pool_security(secured)
            scheduler = {
                "cls": SchedulerWithoutHttp,
                "options": {"host": LOOPBACK, "protocol": "tls://", "security": security, "dashboard": False},
            }
            with dask.config.set({**DASK_CONFIG, "temporary-directory": str(settings.home / "pool")}):
                self._cluster = SpecCluster(
                    workers={}, scheduler=scheduler, security=security, silence_logs=logging.ERROR
                )
            self._opened = opened.pop_all()

        connected = replace(secured, scheduler=str(self._cluster.scheduler_address))
        environment = connected.as_environment(with_secrets=WORKER_SECRETS)
        self._workers = [_make_worker_process(environment, "cpu") for _ in range(settings.workers)]
        for number in range(settings.gpus):
            self._workers.append(_make_worker_process({**environment, "CUDA_VISIBLE_DEVICES": str(number)}, "gpu"))
        for worker in self._workers:
            worker.start()

        self.client = Client(self._cluster, set_as_default=False)

    def maintain(self) -> bool:
        """Start workers that ended again."""
        for worker in self._workers:
            if worker.detect_end():
                log.warning("a worker of the pool ended (%s); another is started", worker.exit_status)
            worker.restart_when_due()
        return True

    def count_slots(self) -> dict[str, int]:
        """Slots of the workers that are ready."""
        return _count_slots(self.client)

    def close(self) -> None:
        """End the workers, then the scheduler."""
        for worker in self._workers:
            worker.kill()
        self.client.close(timeout=CLOSE_TIMEOUT_S)
        self._cluster.close(timeout=CLOSE_TIMEOUT_S)
        self._opened.close()


def _make_worker_process(environment: Mapping[str, str], needs: str) -> ChildProcess:
    """A worker process that takes jobs of this need; it ends with this process (see `worker.py`)."""
    return ChildProcess([sys.executable, "-m", "minipacs.jobs.worker", str(os.getpid()), needs], environment)


def _count_slots(client: Client) -> dict[str, int]:
    try:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
    except (OSError, TimeoutError) as error:
        raise PoolUnavailable("The Dask scheduler does not answer.", "See its log.") from error

    slots: dict[str, int] = {}
    for worker in workers:
        for needs, count in (worker["resources"] or {"cpu": worker["nthreads"]}).items():
            slots[needs] = slots.get(needs, 0) + int(count)
    return slots
