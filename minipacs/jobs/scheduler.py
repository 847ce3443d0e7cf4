"""`minipacs scheduler`: the Dask scheduler of a cluster, at the port of MINIPACS_SCHEDULER.

It is Dask's own, without its dashboard, and with settings under which it costs nothing while nothing is done.
"""

import argparse
import asyncio
import logging

from minipacs.errors import SettingsError
from minipacs.jobs.worker import DASK_CONFIG
from minipacs.settings import Settings
from minipacs.signals import close_on_stop_signal

HELP = "run the scheduler of a cluster, at the port of MINIPACS_SCHEDULER"

log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """--host."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen (default: 127.0.0.1); who can reach it can have code run",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 0 then."""
    import dask

    _, _, port = settings.scheduler.rpartition(":")
    if not port.isdigit():
        raise SettingsError("A scheduler needs a port.", "Set MINIPACS_SCHEDULER=tcp://host:port.")
    try:
        with dask.config.set(DASK_CONFIG):
            asyncio.run(_serve(arguments.host, int(port)))
    except OSError as error:
        raise SettingsError(
            f"The scheduler cannot listen at {arguments.host}:{port} ({error.strerror}).",
            "Correct --host, or set MINIPACS_SCHEDULER to a free port.",
        ) from error
    return 0


async def _serve(host: str, port: int) -> None:
    import distributed

    logging.getLogger(distributed.__name__).setLevel(logging.WARNING)  # after the import, which sets it
    unused = "127.0.0.1:0"  # Dask serves figures of its own, which ours replace
    async with distributed.Scheduler(host=host, port=port, dashboard=False, dashboard_address=unused) as scheduler:
        log.info("the scheduler listens at %s", scheduler.address)
        close_on_stop_signal(scheduler.close)
        await scheduler.finished()
