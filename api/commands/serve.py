"""`minipacs api`: the front door, served by gunicorn, in the foreground until SIGTERM or SIGINT.

On SIGTERM the workers stop accepting and finish what they have begun (30 s at most): no request is lost.
"""

import argparse
from typing import Any

from minipacs.settings import Settings

HELP = "the front door: pages, JSON, files, OHIF and DICOMweb at one address"
GRACE_S = 10
"""A stopping worker finishes requests for so long."""
SILENT_S = 120
"""A worker whose heart stops for so long is replaced."""


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments: everything is a setting."""


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Make an administrator if there is none, then serve."""
    from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # it has none

    from api import create_app
    from api.auth.accounts import ensure_administrator
    from minipacs.database import Database

    create_app(settings).extensions["minipacs"].close()  # makes tables and secrets once, before the workers
    database = Database(settings.database_url)
    ensure_administrator(database, settings)
    database.close()

    class Server(BaseApplication):  # type: ignore[misc]
        """gunicorn, told everything here."""

        def load_config(self) -> None:
            options: dict[str, Any] = {
                "bind": f"{settings.http_host}:{settings.http_port}",
                "workers": settings.http_workers,
                "threads": settings.http_threads,
                "worker_class": "api.fastpath.gunicorn_worker.Worker",
                "graceful_timeout": GRACE_S,
                "timeout": SILENT_S,
                "keepalive": 30,
                "control_socket_disable": True,
                "proc_name": "minipacs-api",
                "worker_tmp_dir": "/dev/shm",
            }
            for name, value in options.items():
                if name in self.cfg.settings:
                    self.cfg.set(name, value)

        def load(self) -> Any:
            return create_app(settings)

    Server().run()
    return 0
