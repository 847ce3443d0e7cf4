"""`minipacs prompts`: the prompt service, a long-lived process that keeps volumes in memory."""

import argparse
import logging
import threading

from minipacs.errors import SettingsError
from minipacs.memory.process_limit import compute_service_bytes, limit_own_memory
from minipacs.settings import Settings
from minipacs.signals import make_stop_event

HELP = "run the prompt service: clicks and boxes become segments at once"

MB = 2**20

log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments: everything comes from the settings."""


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT."""
    from minipacs.archive.client import Archive
    from minipacs.database import Database
    from minipacs.home_folder import prepare_home
    from minipacs.secrets import get_or_create_secret
    from segmentation.prompting.http_server import PromptServer
    from segmentation.prompting.service import PromptService

    stop = make_stop_event()
    limit_own_memory(compute_service_bytes(settings, kept=settings.prompts_memory_mb * MB))
    prepare_home(settings)
    archive, database = Archive(settings), Database(settings.database_url)
    database.upgrade_schema()
    service = PromptService(settings, archive, database)

    try:
        server = PromptServer(settings.prompts_address, service, get_or_create_secret(settings.home, "prompts_key"))
    except OSError as error:
        raise SettingsError(
            f"The prompt service's port {settings.prompts_address[1]} is not free ({error.strerror}).",
            "Stop the other service, or set MINIPACS_PROMPTS.",
        ) from error

    threading.Thread(target=server.serve_forever, name="prompts").start()
    log.info("prompt service is ready")
    service.preload()
    stop.wait()
    server.shutdown()
    server.server_close()
    service.close()
    archive.close()
    database.close()

    return 0
