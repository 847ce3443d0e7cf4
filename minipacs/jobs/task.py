"""A job while it runs, in a pool worker: claim the row, renew its lease, do the work, record how it ended."""

import errno
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, lru_cache

import psutil

from minipacs.archive.client import Archive
from minipacs.database import Database
from minipacs.errors import (
    ArchiveUnreachable,
    BadRequest,
    CatalogueUnavailable,
    EngineUnavailable,
    MinipacsError,
    NotFound,
    NotInArchive,
    Unreadable,
    WrongPrompts,
)
from minipacs.jobs.contract import Cancelled, kinds_of_work
from minipacs.jobs.hold import Answer, JobHold, Progress
from minipacs.logging_setup import log_context
from minipacs.settings import Settings

HEARTBEAT_INTERVAL_S = 1.0
STOP_TIMEOUT_S = 10.0
"""Longest time a job may take to stop once it was cancelled; then its process ends."""
PERMANENT_ERRORS = (BadRequest, EngineUnavailable, NotFound, NotInArchive, Unreadable, WrongPrompts)
"""Errors that another attempt would only repeat."""
TEMPORARY_ERRORS = (ArchiveUnreachable, CatalogueUnavailable)
"""Errors that are not the job's fault: a part is away, and the attempt does not count."""
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)

log = logging.getLogger(__name__)


class RunningTask:
    """The `Task` that work receives: its arguments, the archive, the database, and its heartbeat."""

    def __init__(self, settings: Settings, hold: JobHold) -> None:
        self.settings = settings
        self.database = hold.database
        self.args = hold.args
        self._hold = hold

        self._progress = Progress()
        self._answer: Answer = "go on"

        self._stage_seconds: dict[str, float] = {}
        self._stage, self._stage_since = "start", time.monotonic()

        self._stop = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name=f"heartbeat of job {hold.id}", daemon=True)

    @cached_property
    def archive(self) -> Archive:
        """The archive, over connections that the jobs of this process share."""
        return _archive(self.settings)

    def progress(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        """Record how far it is; raises `Cancelled` when the job was cancelled or given to another worker."""
        self._progress = Progress(stage, done, total, note)
        if stage != self._stage:
            self.stage_seconds()
            self._stage = stage
        if self._answer != "go on":
            raise Cancelled(self._answer)

    def stage_seconds(self) -> dict[str, float]:
        """How long each stage has taken so far, in seconds."""
        now = time.monotonic()
        earlier = self._stage_seconds.get(self._stage, 0.0)
        self._stage_seconds[self._stage] = round(earlier + now - self._stage_since, 3)
        self._stage_since = now
        return dict(self._stage_seconds)

    def __enter__(self) -> "RunningTask":
        self._heartbeat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._heartbeat.join()

    def _beat(self) -> None:
        """Renew the lease and record new progress, until the job ends; a database that is away is tried again."""
        renewal_interval_s = min(self._hold.lease_s / 3, 2 * HEARTBEAT_INTERVAL_S)
        recorded, renewed_at = Progress(), time.monotonic()
        stop_asked_at: float | None = None

        while not self._stop.wait(HEARTBEAT_INTERVAL_S):
            progress, now = self._progress, time.monotonic()

            if self._answer != "go on":
                stop_asked_at = stop_asked_at or now
                if now - stop_asked_at > STOP_TIMEOUT_S:
                    self._end_process()
            elif progress == recorded and now - renewed_at < renewal_interval_s:
                continue

            try:
                self._answer = self._hold.beat(progress)
                recorded, renewed_at = progress, now
            except CatalogueUnavailable as error:
                log.warning("job %d: %s", self._hold.id, error)

    def _end_process(self) -> None:
        """End this process, for its work does not stop; a supervisor starts another."""
        log.warning("job %d does not hear that it must stop; its worker ends", self._hold.id)
        with suppress(CatalogueUnavailable):  # then its lease will end, or its process be missed
            self._hold.end_cancelled_job()
        os._exit(1)


def run_job(settings: Settings, job_id: int) -> str:
    """What the pool calls. The row decides, not the pool: a call for a row that another worker holds does nothing."""
    database = _database(settings.database_url)
    hold = JobHold.claim(database, job_id, worker_name(settings), lease_s=settings.lease_s)
    if hold is None:
        return "not mine"
    with log_context(job=hold.id, kind=hold.kind, attempt=hold.attempt):
        outcome = _do_work(settings, hold)
        log.info("job %d (%s), attempt %d: %s", hold.id, hold.kind, hold.attempt, outcome)
        return outcome


@lru_cache(maxsize=1)
def _archive(settings: Settings) -> Archive:
    """Made once a process: its TLS context alone takes 0.1 s."""
    return Archive(settings)


@lru_cache(maxsize=1)
def _database(url: str) -> Database:
    """Made once a process."""
    return Database(url)


def _do_work(settings: Settings, hold: JobHold) -> str:
    """Run the work of this job and record how it ended; that in a word."""
    try:
        with RunningTask(settings, hold) as task:
            result = {**kinds_of_work()[hold.kind].run(task), "seconds": task.stage_seconds()}
    except Cancelled:
        return _until_written(hold.end_cancelled_job, "cancelled")
    except Exception as error:  # the outermost loop of a worker: a bad study must not end it
        return _record_failure(hold, error)
    return _until_written(lambda: hold.finish(result), "done")


def _record_failure(hold: JobHold, error: Exception) -> str:
    """Record what went wrong; what is not the job's fault is postponed."""
    detail = traceback.format_exc()
    if _is_disk_full(error):
        full = MinipacsError("The disk is full.", "Free some disk space.")
        return _until_written(lambda: hold.postpone(full), "postponed")

    if isinstance(error, TEMPORARY_ERRORS):
        temporary = error
        return _until_written(lambda: hold.postpone(temporary), "postponed")

    if isinstance(error, MinipacsError):
        known = error
    else:
        name, hint = type(error).__name__, "Please report it with the job's detail."
        log.error("job %d broke (%s); its detail column has the trace", hold.id, name)
        known = MinipacsError(f"An unexpected {name} ended the job.", hint)
    is_permanent = isinstance(known, PERMANENT_ERRORS)
    return _until_written(lambda: hold.fail(known, detail, is_permanent=is_permanent), "failed")


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is among the causes of this error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_IS_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def _until_written(write: Callable[[], bool], outcome: str) -> str:
    """Record the outcome, trying again while the database is away; `lost` when the row is another worker's."""
    while True:
        try:
            return outcome if write() else "lost"
        except CatalogueUnavailable:
            time.sleep(HEARTBEAT_INTERVAL_S)


def worker_name(settings: Settings) -> str:
    """This process as `host/pid/start time`, which no later process with the same pid has."""
    process = psutil.Process()
    return f"{settings.host_name}/{process.pid}/{process.create_time():.0f}"


def is_alive(worker: str) -> bool:
    """Whether this process of this machine still runs."""
    _, pid, created = worker.rsplit("/", 2)
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(created)) < 2
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def end_worker(worker: str) -> None:
    """Kill this process of this machine; the pool replaces it, and the runner queues its job again."""
    if is_alive(worker):
        psutil.Process(int(worker.rsplit("/", 2)[1])).kill()
