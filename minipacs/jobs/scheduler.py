"""`minipacs scheduler`: the Dask scheduler of a cluster, at the port of MINIPACS_SCHEDULER.

It is Dask's own, without its dashboard, and with settings under which it costs nothing while nothing is done.
"""

import argparse
import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from minipacs.errors import SettingsError
from minipacs.jobs.pool_security import load_pool_security, refuse_open_network
from minipacs.jobs.worker import DASK_CONFIG
from minipacs.settings import Settings
from minipacs.signals import close_on_stop_signal

if TYPE_CHECKING:
    from distributed import Security

HELP = "run the scheduler of a cluster, at the port of MINIPACS_SCHEDULER"

log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """--host."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen (default: 127.0.0.1); without TLS, whoever reaches it can run code",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 0 then."""
    import dask

    port = urlsplit(settings.scheduler).port
    if port is None:
        raise SettingsError("A scheduler needs a port.", "Set MINIPACS_SCHEDULER=tls://host:port.")
    security = load_pool_security(settings)
    if security is None:
        refuse_open_network(settings, arguments.host)

    try:
        with dask.config.set(DASK_CONFIG):
            asyncio.run(_serve(arguments.host, port, security))
    except OSError as error:
        raise SettingsError(
            f"The scheduler cannot listen at {arguments.host}:{port} ({error.strerror}).",
            "Correct --host, or set MINIPACS_SCHEDULER to a free port.",
        ) from error
    return 0


async def _serve(host: str, port: int, security: "Security | None") -> None:
    import distributed

    from minipacs.jobs.dask_nodes import SchedulerWithoutHttp

    logging.getLogger(distributed.__name__).setLevel(logging.WARNING)  # after the import, which sets it
    protocol = "tls://" if security else "tcp://"
    async with SchedulerWithoutHttp(
        host=host, port=port, protocol=protocol, security=security, dashboard=False
    ) as scheduler:
        log.info("the scheduler listens at %s", scheduler.address)
        close_on_stop_signal(scheduler.close)
        await scheduler.finished()
