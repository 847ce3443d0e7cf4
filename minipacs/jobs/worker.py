"""`minipacs worker`: one process of the pool, on this machine or another; it does one job at a time.

The embedded pool starts these itself (`pool.py`). On a cluster, run as many as there are cores to
spare, under a supervisor that starts them again: a worker that was killed has lost nothing but time.
"""

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from minipacs import logging_setup
from minipacs.database import Database
from minipacs.errors import SettingsError
from minipacs.home_folder import prepare_home
from minipacs.jobs.leases import JobLeases
from minipacs.jobs.pool_security import load_pool_security, refuse_open_network
from minipacs.jobs.task import worker_name
from minipacs.jobs.worker_secrets import keep_worker_secrets
from minipacs.memory.process_limit import compute_worker_bytes, limit_own_memory
from minipacs.memory.size_limits import apply_size_limits
from minipacs.settings import Settings, remove_secrets_from_environment
from minipacs.signals import close_on_stop_signal

if TYPE_CHECKING:
    from distributed import Security

HELP = "run one worker of the pool, for the scheduler at MINIPACS_SCHEDULER"
DASK_CONFIG = {
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.spill": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 0,
}
"""An idle pool costs 4 to 13 % of a core with Dask's defaults, about 2 % with these."""
PR_SET_PDEATHSIG = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """--needs, --host."""
    parser.add_argument(
        "--needs", nargs="+", default=["cpu"], metavar="TAG", help="kinds of work it takes: cpu, gpu (default: cpu)"
    )
    parser.add_argument(
        "--host",
        default="",
        metavar="ADDRESS",
        help="where to listen for the other workers (default: this machine's address in the scheduler's network)",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM, SIGINT, or the end of the scheduler."""
    if not settings.scheduler:
        raise SettingsError("A worker needs a scheduler.", "Set MINIPACS_SCHEDULER=tls://host:port.")
    prepare_home(settings)
    serve(settings, arguments.needs, arguments.host)
    database = Database(settings.database_url)
    JobLeases(database).requeue_jobs_of_worker(worker_name(settings), "The worker was stopped.", counts_attempt=False)
    os._exit(0)  # at once: what it still does counts no more


def serve(settings: Settings, needs: Sequence[str], host: str = "") -> None:
    """Do one job after the other until the worker is closed, or loses its scheduler.

    Other workers reach it at `host`, or, where that is empty, at this machine's address in the scheduler's network.
    """
    import dask
    import distributed

    keep_worker_secrets(settings)
    apply_size_limits(settings)
    limit_own_memory(compute_worker_bytes(settings))
    security = load_pool_security(settings)
    if security is None and host:
        refuse_open_network(settings, host)

    logging.getLogger(distributed.__name__).setLevel(logging.ERROR)  # after the import, which sets it
    with dask.config.set(DASK_CONFIG):
        asyncio.run(_serve(settings, needs, host, security))


async def _serve(settings: Settings, needs: Sequence[str], host: str, security: "Security | None") -> None:
    from distributed.utils import get_ip

    from minipacs.jobs.dask_nodes import WorkerWithoutHttp

    async with WorkerWithoutHttp(
        settings.scheduler,
        host=host or get_ip(settings.scheduler_host),
        security=security,
        nthreads=1,
        resources=dict.fromkeys(needs, 1),
        memory_limit=0,
        dashboard=False,
        local_directory=str(settings.home / "pool"),
    ) as worker:
        close_on_stop_signal(partial(worker.close, timeout=1))
        await worker.finished()


if __name__ == "__main__":  # a worker of the embedded pool, which ends with the job service, whatever ends that
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):  # it has ended already
        sys.exit(1)
    own_settings = Settings.from_env()
    remove_secrets_from_environment()
    logging_setup.set_up(own_settings)
    serve(own_settings, sys.argv[2:])
