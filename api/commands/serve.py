"""`minipacs api`: the front door, served by gunicorn, in the foreground until SIGTERM or SIGINT.

On SIGTERM the workers answer every request whose connection was made before (10 s at most), and refuse later ones.
"""

import argparse
from contextlib import closing
from typing import Any

from minipacs.audit.command_act import CommandAct
from minipacs.settings import Settings

HELP = "the front door: pages, JSON, files, OHIF and DICOMweb at one address"
STOP_TIMEOUT_S = 10
"""Requests that a stopping worker has not answered by then are cut off."""
HEARTBEAT_TIMEOUT_S = 120
"""A worker without a heartbeat for so long is replaced."""
MAX_LINE_BYTES = 8190
"""Of the request line (beyond: 414) and of one header (431); there are at most `MAX_HEADERS` of these."""
MAX_HEADERS = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments: everything is a setting."""


def describe_act(arguments: argparse.Namespace) -> CommandAct:
    """For the audit."""
    return CommandAct("start", "api", is_service=True)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Create tables, secrets and the first administrator where they are missing, then serve."""
    from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # it has none

    from api import create_app
    from api.auth.accounts import ensure_administrator
    from minipacs.certificates.https import check_https_certificate
    from minipacs.database import Database
    from minipacs.home_folder import prepare_home
    from minipacs.memory.process_limit import compute_service_bytes, limit_own_memory

    check_https_certificate(settings)
    prepare_home(settings)
    create_app(settings).extensions["minipacs"].close()  # makes tables and secrets once, before the workers
    with closing(Database(settings.database_url)) as database:
        ensure_administrator(database, settings)

    class Server(BaseApplication):  # type: ignore[misc]
        """gunicorn with the options of our settings; it reads no file and no command line."""

        def load_config(self) -> None:
            options: dict[str, Any] = {
                "bind": f"{settings.http_host}:{settings.http_port}",
                "workers": settings.http_workers,
                "threads": settings.http_threads,
                "certfile": settings.https_certificate or None,
                "keyfile": settings.https_key or None,
                "worker_class": "api.server.worker.FrontDoorWorker",
                "graceful_timeout": STOP_TIMEOUT_S,
                "timeout": HEARTBEAT_TIMEOUT_S,
                "limit_request_line": MAX_LINE_BYTES,
                "limit_request_field_size": MAX_LINE_BYTES,
                "limit_request_fields": MAX_HEADERS,
                "forwarded_allow_ips": "",  # MINIPACS_TRUSTED_PROXIES says whom to believe, not gunicorn
                "secure_scheme_headers": {},
                "control_socket_disable": True,
                "proc_name": "minipacs-api",
                "worker_tmp_dir": "/dev/shm",
            }
            for name, value in options.items():
                if name in self.cfg.settings:  # an option that this version of gunicorn has
                    self.cfg.set(name, value)

        def load(self) -> Any:
            limit_own_memory(compute_service_bytes(settings))
            return create_app(settings)

    Server().run()
    return 0
