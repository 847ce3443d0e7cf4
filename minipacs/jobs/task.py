"""A job while it runs, in a pool worker: claim the row, beat its heart, do the work, tell the end."""

import errno
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any

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
from minipacs.jobs.contract import Cancelled, works
from minipacs.jobs.record import Claim, Jobs, Progress
from minipacs.logging_setup import log_context
from minipacs.settings import Settings

BEAT_S = 1.0
DEAF_S = 10.0
"""A job may take so long to stop once it was told."""
PERMANENT = (BadRequest, EngineUnavailable, NotFound, NotInArchive, Unreadable, WrongPrompts)
"""Errors that another attempt would only repeat."""
AWAY = (ArchiveUnreachable, CatalogueUnavailable)
"""Errors that are not the job's fault."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

log = logging.getLogger(__name__)


class RunningTask:
    """The `Task` that work receives: its arguments, the archive, the database, and its heartbeat."""

    def __init__(self, settings: Settings, jobs: Jobs, claim: Claim) -> None:
        self.settings = settings
        self.database = jobs.database
        self.args = claim.args
        self._jobs, self._claim = jobs, claim
        self._progress, self._answer = Progress(), "go on"
        self._seconds: dict[str, float] = {}
        self._stage, self._since = "start", time.monotonic()
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name=f"heart of job {claim.id}", daemon=True)

    @cached_property
    def archive(self) -> Archive:
        """The archive, over connections that the jobs of this process share."""
        return _archive(self.settings)

    def progress(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        """Tell how far it is; raises `Cancelled` when the job was cancelled or given to another worker."""
        self._progress = Progress(stage, done, total, note)
        if stage != self._stage:
            self.seconds()
            self._stage = stage
        if self._answer != "go on":
            raise Cancelled(self._answer)

    def seconds(self) -> dict[str, float]:
        """How long each stage took so far."""
        now = time.monotonic()
        self._seconds[self._stage] = round(self._seconds.get(self._stage, 0.0) + now - self._since, 3)
        self._since = now
        return dict(self._seconds)

    def __enter__(self) -> "RunningTask":
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._heart.join()

    def _beat(self) -> None:
        """Every second, as long as the job runs; a database that is away is tried again."""
        told, renewed, heard = Progress(), time.monotonic(), 0.0
        while not self._stop.wait(BEAT_S):
            progress, now = self._progress, time.monotonic()
            if self._answer != "go on":
                heard = heard or now
                if now - heard > DEAF_S:
                    self._end_process()
            if progress == told and self._answer == "go on" and now - renewed < min(self._jobs.lease_s / 3, 2 * BEAT_S):
                continue
            try:
                self._answer = self._jobs.beat(self._claim, progress)
                told, renewed = progress, now
            except CatalogueUnavailable as error:
                log.warning("job %d: %s", self._claim.id, error)

    def _end_process(self) -> None:
        """The work does not hear that it must stop: this process ends with it, and a supervisor makes another."""
        log.warning("job %d does not hear that it must stop; its worker ends", self._claim.id)
        with suppress(CatalogueUnavailable):  # then its lease will end, or its process be missed
            self._jobs.cancelled(self._claim)
        os._exit(1)


def run_job(settings: Settings, job_id: int) -> str:
    """What the pool calls. The row decides, not the pool: a call for a row that somebody holds does nothing."""
    jobs = Jobs(_database(settings.database_url), lease_s=settings.lease_s, attempts=settings.attempts)
    claim = jobs.claim(job_id, worker_name(settings))
    if claim is None:
        return "not mine"
    with log_context(job=claim.id, kind=claim.kind, attempt=claim.attempt):
        outcome = _do(settings, jobs, claim)
        log.info("job %d (%s), attempt %d: %s", claim.id, claim.kind, claim.attempt, outcome)
        return outcome


@lru_cache(maxsize=1)
def _archive(settings: Settings) -> Archive:
    """Made once a process: its TLS context alone takes 0.1 s."""
    return Archive(settings)


@lru_cache(maxsize=1)
def _database(url: str) -> Database:
    """Made once a process."""
    return Database(url)


def _do(settings: Settings, jobs: Jobs, claim: Claim) -> str:
    result: dict[str, Any] = {}
    try:
        with RunningTask(settings, jobs, claim) as task:
            result = {**works()[claim.kind].run(task), "seconds": task.seconds()}
    except Cancelled:
        return _told(lambda: jobs.cancelled(claim), "cancelled")
    except Exception as error:  # the outermost loop of a worker: a bad study must not end it
        return _failed(jobs, claim, error)
    return _told(lambda: jobs.finish(claim, result), "done")


def _failed(jobs: Jobs, claim: Claim, error: Exception) -> str:
    """Say to the database what went wrong; what is not the job's fault is done again."""
    detail = traceback.format_exc()
    if _is_full(error):
        full = MinipacsError("The disk is full.", "Free some disk space.")
        return _told(lambda: jobs.postpone(claim, full), "postponed")
    if isinstance(error, AWAY):
        away = error
        return _told(lambda: jobs.postpone(claim, away), "postponed")
    if isinstance(error, MinipacsError):
        known = error
    else:
        name, hint = type(error).__name__, "Please report it with the job's detail."
        log.error("job %d broke (%s); its detail column has the trace", claim.id, name)
        known = MinipacsError(f"An unexpected {name} ended the job.", hint)
    return _told(lambda: jobs.fail(claim, known, detail, permanent=isinstance(known, PERMANENT)), "failed")


def _is_full(error: BaseException | None) -> bool:
    """Whether it comes, however far down, of a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        error = error.__cause__ or error.__context__
    return False


def _told(tell: Callable[[], bool], outcome: str) -> str:
    """Say the outcome to the database; while it is away, hold the outcome and try again."""
    while True:
        try:
            return outcome if tell() else "lost"
        except CatalogueUnavailable:
            time.sleep(BEAT_S)


def worker_name(settings: Settings) -> str:
    """host/pid/start time: names a process beyond the reuse of its pid."""
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
    """Kill this process of this machine; the pool replaces it, and its job is given back."""
    if is_alive(worker):
        psutil.Process(int(worker.rsplit("/", 2)[1])).kill()
