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
    EngineExceedsMemory,
    EngineUnavailable,
    MinipacsError,
    NotFound,
    NotInArchive,
    Unreadable,
    WrongPrompts,
)
from minipacs.jobs.claimed_job import ClaimedJob, HeartbeatAnswer, JobProgress
from minipacs.jobs.contract import Cancelled, kinds_of_work
from minipacs.jobs.worker_secrets import add_worker_secrets
from minipacs.logging_setup import log_context
from minipacs.memory.process_limit import explain_memory_error
from minipacs.settings import Settings

HEARTBEAT_INTERVAL_S = 1.0
STOP_TIMEOUT_S = 10.0
"""Longest time a job may take to stop once it was cancelled; then its process ends."""
PERMANENT_ERRORS = (
    *(BadRequest, EngineExceedsMemory, EngineUnavailable, NotFound),
    *(NotInArchive, Unreadable, WrongPrompts),
)
"""Errors that another attempt would only repeat."""
TEMPORARY_ERRORS = (ArchiveUnreachable, CatalogueUnavailable)
"""Errors that are not the job's fault: Orthanc or the database does not answer. The attempt does not count."""
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)

log = logging.getLogger(__name__)


class RunningTask:
    """The `Task` that work receives: its arguments, the archive, the database, and its heartbeat."""

    def __init__(self, settings: Settings, job: ClaimedJob) -> None:
        self.settings = settings
        self.database = job.database
        self.args = job.args
        self._job = job

        self._progress = JobProgress()
        self._answer: HeartbeatAnswer = "go on"

        self._stage_seconds: dict[str, float] = {}
        self._stage, self._stage_since = "start", time.monotonic()

        self._stop = threading.Event()
        self._heartbeat = threading.Thread(target=self._run_heartbeat, name=f"heartbeat of job {job.id}", daemon=True)

    @cached_property
    def archive(self) -> Archive:
        """The archive, over connections that the jobs of this process share."""
        return _open_archive(self.settings)

    def progress(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        """Record how far it is; raises `Cancelled` when the job was cancelled or given to another worker."""
        self._progress = JobProgress(stage, done, total, note)
        if stage != self._stage:
            self.measure_stage_seconds()
            self._stage = stage
        if self._answer != "go on":
            raise Cancelled(self._answer)

    def measure_stage_seconds(self) -> dict[str, float]:
        """How long each stage has taken so far, in seconds; the present one is measured up to now."""
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

    def _run_heartbeat(self) -> None:
        """Renew the lease and record new progress until the job ends; if the database does not answer, try again."""
        renewal_interval_s = min(self._job.lease_s / 3, 2 * HEARTBEAT_INTERVAL_S)
        recorded, renewed_at = JobProgress(), time.monotonic()
        stop_requested_at: float | None = None

        while not self._stop.wait(HEARTBEAT_INTERVAL_S):
            progress, now = self._progress, time.monotonic()

            if self._answer != "go on":
                stop_requested_at = stop_requested_at or now
                if now - stop_requested_at > STOP_TIMEOUT_S:
                    self._end_process()
            elif progress == recorded and now - renewed_at < renewal_interval_s:
                continue

            try:
                self._answer = self._job.renew_lease(progress)
                recorded, renewed_at = progress, now
            except CatalogueUnavailable as error:
                log.warning("job %d: %s", self._job.id, error)
            except MemoryError:  # the work takes all there is, and will have its own error
                log.warning("job %d: no memory is left to record its progress", self._job.id)

    def _end_process(self) -> None:
        """End this process, for its work does not stop; a supervisor starts another."""
        log.warning("job %d does not stop when it must; its worker ends", self._job.id)
        with suppress(CatalogueUnavailable):  # then its lease ends, or the runner sees that the process has
            self._job.end_cancelled_job()
        os._exit(1)


def run_job(settings: Settings, job_id: int) -> str:
    """Claim this job and run it; the pool calls this. For a row that another worker has claimed it does nothing.

    `settings`: those of the job service, without its secrets; this worker's own take their place.
    """
    settings = add_worker_secrets(settings)
    database = _open_database(settings.database_url)
    job = ClaimedJob.claim(database, job_id, worker_name(settings), lease_s=settings.lease_s)
    if job is None:
        return "not mine"
    with log_context(job=job.id, kind=job.kind, attempt=job.attempt):
        outcome = _do_work(settings, job)
        log.info("job %d (%s), attempt %d: %s", job.id, job.kind, job.attempt, outcome)
        return outcome


@lru_cache(maxsize=1)
def _open_archive(settings: Settings) -> Archive:
    """The archive, opened once in each process: its TLS context alone takes 0.1 s."""
    return Archive(settings)


@lru_cache(maxsize=1)
def _open_database(url: str) -> Database:
    """The database, opened once in each process."""
    return Database(url)


def _do_work(settings: Settings, job: ClaimedJob) -> str:
    """Run the work of this job and record how it ended; the outcome in one word."""
    try:
        with RunningTask(settings, job) as task:
            result = {**kinds_of_work()[job.kind].run(task), "seconds": task.measure_stage_seconds()}
    except Cancelled:
        return _write_with_retries(job.end_cancelled_job, "cancelled")
    except Exception as error:  # the outermost loop of a worker: a bad study must not end it
        return _record_failure(job, error)
    return _write_with_retries(lambda: job.finish(result), "done")


def _record_failure(job: ClaimedJob, error: Exception) -> str:
    """Record what went wrong; what is not the job's fault is postponed."""
    detail = traceback.format_exc()
    if _is_disk_full(error):
        full = MinipacsError("The disk is full.", "Free some disk space.")
        return _write_with_retries(lambda: job.postpone(full), "postponed")

    if isinstance(error, TEMPORARY_ERRORS):
        temporary = error
        return _write_with_retries(lambda: job.postpone(temporary), "postponed")

    known: MinipacsError
    if isinstance(error, MinipacsError):
        known = error
    elif isinstance(error, MemoryError):
        known = explain_memory_error()
    else:
        name, hint = type(error).__name__, "Please report it with the job's detail."
        log.error("job %d raised %s; its detail column has the traceback", job.id, name)
        known = MinipacsError(f"An unexpected {name} ended the job.", hint)
    is_permanent = isinstance(known, PERMANENT_ERRORS)
    return _write_with_retries(lambda: job.fail(known, detail, is_permanent=is_permanent), "failed")


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is among the causes of this error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_IS_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def _write_with_retries(write: Callable[[], bool], outcome: str) -> str:
    """Call `write` until the database answers; the outcome, or `lost` when the row is another worker's."""
    while True:
        try:
            return outcome if write() else "lost"
        except CatalogueUnavailable:
            time.sleep(HEARTBEAT_INTERVAL_S)


def worker_name(settings: Settings) -> str:
    """This process as `host/pid/start time`, which no later process with the same pid has."""
    process = psutil.Process()
    return f"{settings.host_name}/{process.pid}/{process.create_time():.0f}"


def is_worker_alive(worker: str) -> bool:
    """Whether this process of this machine still runs."""
    _, pid, created = worker.rsplit("/", 2)
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(created)) < 2
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def kill_worker(worker: str) -> None:
    """Kill this process of this machine; the pool replaces it, and the runner queues its job again."""
    if is_worker_alive(worker):
        psutil.Process(int(worker.rsplit("/", 2)[1])).kill()
