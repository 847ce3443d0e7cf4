"""`minipacs service`: receives notifications, reads the change log, moves jobs to the pool."""

import argparse
import logging
import os
import threading
from pathlib import Path

from minipacs.archive.client import Archive
from minipacs.audit.command_act import CommandAct
from minipacs.audit.forwarding import AuditForwarder
from minipacs.database import Database
from minipacs.errors import ArchiveError, CatalogueUnavailable, PoolUnavailable, SettingsError
from minipacs.home_folder import prepare_home
from minipacs.jobs.planner import Planner
from minipacs.jobs.runner import Runner
from minipacs.jobs.stable_study_listener import StableStudyListener
from minipacs.notifications.outbox import Notifier
from minipacs.secrets import orthanc_password
from minipacs.settings import Settings
from minipacs.signals import make_stop_event

HELP = "run the job service: follow the archive, do the work"
RUNNER_STEP_INTERVAL_S = 0.2
START_RETRY_INTERVAL_S = 1.0
"""Interval at which a start is tried again while the database or the scheduler does not answer."""

log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments: everything comes from the settings."""


def describe_act(arguments: argparse.Namespace) -> CommandAct:
    """For the audit."""
    return CommandAct("start", "service", is_service=True)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; then queue running work again."""
    stop = make_stop_event()

    prepare_home(settings)
    database = Database(settings.database_url)
    listener = _open_listener(settings)
    runner, notifier = Runner(settings, database), Notifier(settings, database)
    while not _try_to_start(database, runner):
        if stop.wait(START_RETRY_INTERVAL_S):
            return 0

    planning = (settings, database, listener, stop, runner.wake)
    planner = threading.Thread(target=_run_planner, args=planning, name="planner")
    planner.start()
    notifier.start(stop)
    forwarder = AuditForwarder(settings, database)
    forwarder.start(stop)
    ready_file_path(settings).write_text(str(os.getpid()))
    log.info("job service is ready")

    last_warning = ""
    try:
        while not stop.is_set():
            last_warning = _step_runner(runner, last_warning)
            runner.wake.wait(RUNNER_STEP_INTERVAL_S)
            runner.wake.clear()
    finally:
        stop.set()
        runner.stop()
        planner.join()
        notifier.join()
        forwarder.join()
        listener.close()
        database.close()
    return 0


def ready_file_path(settings: Settings) -> Path:
    """Path of the file that holds the process id of a service that is ready; `minipacs up` waits for it."""
    return settings.home / "service.ready"


def _open_listener(settings: Settings) -> StableStudyListener:
    """The listener at the address of the settings; raises `SettingsError` when the port is taken."""
    host, port = settings.stable_study_host_and_port
    try:
        return StableStudyListener((host, port), orthanc_password(settings))
    except OSError as error:
        raise SettingsError(
            f"UDP port {port} for the notifications of Orthanc is not free ({error.strerror}).",
            "Stop the other service, or set MINIPACS_STABLE_STUDY_ADDRESS.",
        ) from error


def _try_to_start(database: Database, runner: Runner) -> bool:
    """Upgrade the tables and open the pool; `False` when the database or the scheduler does not answer."""
    try:
        database.upgrade_schema()
        runner.start()
    except (CatalogueUnavailable, PoolUnavailable) as error:
        log.warning("%s", error)
        return False
    return True


def _step_runner(runner: Runner, last_warning: str) -> str:
    """One step of the runner. A database or a pool that does not answer is logged once; what was logged last."""
    try:
        runner.step()
    except (CatalogueUnavailable, PoolUnavailable) as error:
        trouble = type(error).__name__
        if trouble != last_warning:
            log.warning("%s", error)
        return trouble
    return ""


def _run_planner(
    settings: Settings, database: Database, listener: StableStudyListener, stop: threading.Event, wake: threading.Event
) -> None:
    """Plan until `stop` is set; an archive or a database that does not answer is tried again at the next step."""
    archive = Archive(settings)
    planner = Planner(settings, archive, database)
    last_warning = ""
    while not stop.is_set():
        notified = listener.receive(settings.poll_s)
        try:
            if planner.step(notified):
                wake.set()
            last_warning = ""
        except (ArchiveError, CatalogueUnavailable) as error:
            if str(error) != last_warning:
                log.warning("%s", error)
            last_warning = str(error)
    archive.close()
