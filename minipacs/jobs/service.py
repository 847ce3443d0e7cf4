"""`minipacs service`: hears the doorbell, reads the change log, moves rows to the pool."""

import argparse
import logging
import os
import threading
from pathlib import Path

from minipacs.archive.client import Archive
from minipacs.database import Database
from minipacs.errors import ArchiveError, CatalogueUnavailable, PoolUnavailable, SettingsError
from minipacs.jobs.follow import Doorbell, Follower
from minipacs.jobs.runner import Runner
from minipacs.notifications.outbox import Notifier
from minipacs.settings import Settings
from minipacs.signals import make_stop_event

HELP = "run the job service: follow the archive, do the work"
RUNNER_STEP_S = 0.2
AWAY_S = 1.0

log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments: everything comes from the settings."""


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; then hand running work back."""
    stop = make_stop_event()

    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    doorbell = _doorbell(settings)
    runner, notifier = Runner(settings, database), Notifier(settings, database)
    while not _started(database, runner):
        if stop.wait(AWAY_S):
            return 0
    told = (settings, database, doorbell, stop, runner.wake)
    follower = threading.Thread(target=_follow, args=told, name="follower")
    follower.start()
    notifier.start(stop)
    ready_file(settings).write_text(str(os.getpid()))
    log.info("job service is ready")
    complained = ""
    try:
        while not stop.is_set():
            complained = _step(runner, complained)
            runner.wake.wait(RUNNER_STEP_S)
            runner.wake.clear()
    finally:
        stop.set()
        runner.stop()
        follower.join()
        notifier.join()
        doorbell.close()
        database.close()
    return 0


def ready_file(settings: Settings) -> Path:
    """Holds the process id of a service that is ready; `minipacs up` waits for it."""
    return settings.home / "service.ready"


def _doorbell(settings: Settings) -> Doorbell:
    host, port = settings.stable_study_host_and_port
    try:
        return Doorbell((host, port))
    except OSError as error:
        raise SettingsError(
            f"The doorbell's UDP port {port} is not free ({error.strerror}).",
            "Stop the other service, or set MINIPACS_STABLE_STUDY_ADDRESS.",
        ) from error


def _started(database: Database, runner: Runner) -> bool:
    """Make the tables and open the pool; a database or a scheduler that is away is waited for."""
    try:
        database.create()
        runner.start()
    except (CatalogueUnavailable, PoolUnavailable) as error:
        log.warning("%s", error)
        return False
    return True


def _step(runner: Runner, complained: str) -> str:
    """One step; what is away is said once, and tried again at the next. What was said."""
    try:
        runner.step()
    except (CatalogueUnavailable, PoolUnavailable) as error:
        said = type(error).__name__
        if said != complained:
            log.warning("%s", error)
        return said
    return ""


def _follow(
    settings: Settings, database: Database, doorbell: Doorbell, stop: threading.Event, wake: threading.Event
) -> None:
    """The follower's loop: an archive or a database that is away is tried again at the next look."""
    archive = Archive(settings)
    follower = Follower(settings, archive, database)
    complained = ""
    while not stop.is_set():
        rung = doorbell.listen(settings.poll_s)
        try:
            if follower.step(rung):
                wake.set()
            complained = ""
        except (ArchiveError, CatalogueUnavailable) as error:
            if str(error) != complained:
                log.warning("%s", error)
            complained = str(error)
    archive.close()
