"""Submit queued rows to the pool. The runner holds no state that matters: kill it, start it again, run two.

It submits only as many rows as there are free slots, the most urgent first, so that priorities
work and a restart loses nothing. The pool is an embedded one (`pool.py`), or an existing
scheduler by address; either way the row is the record and the pool only executes.
"""

import logging
import shutil
import threading
import time
from dataclasses import dataclass

from distributed import Future

from minipacs.database import Database
from minipacs.errors import CatalogueUnavailable
from minipacs.jobs.leases import JobLeases
from minipacs.jobs.pool import EmbeddedPool, Pool, RemotePool
from minipacs.jobs.task import is_worker_alive, kill_worker, run_job
from minipacs.settings import Settings

CLAIM_TIMEOUT_S = 30.0
"""A submitted row that no worker claimed within this time is submitted again."""
RENEWAL_GRACE_S = 5.0
"""After a pause of this length in our checks, workers have as long to renew their leases before one counts as over."""
IDLE_STEP_INTERVAL_S = 5.0
"""Interval of complete steps while no job is open; the steps between only ask whether one is."""
NOTE_AND_RETRY_INTERVAL_S = 10.0
"""Interval at which waiting rows get their note, and failed ones are queued again as MINIPACS_RETRY says."""

log = logging.getLogger(__name__)


@dataclass
class Submission:
    """A row that was submitted to the pool, and when, on the monotonic clock."""

    future: Future[str]
    needs: str
    submitted_at: float


class Runner:
    """Moves rows to the pool, step by step."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.leases = JobLeases(database)
        self._submissions: dict[int, Submission] = {}
        self._pool: Pool | None = None
        self._below_reserve = False
        self.wake = threading.Event()
        """Set when there may be something to do before the next step is due."""
        self._leases_checked_at = -float("inf")
        """When the leases were last checked, on the monotonic clock (as the three below)."""
        self._trusted_since = -float("inf")
        """Since when the leases have been checked without a pause."""
        self._noted_and_retried_at = -float("inf")
        """When waiting rows last got their note and failed ones were last retried."""
        self._last_complete_step_at = -float("inf")
        """When the last complete step began."""

    def start(self) -> None:
        """Queue again the jobs of dead workers of this machine, then open the pool."""
        self._requeue_jobs_of_dead_workers()
        self._pool = RemotePool(self.settings) if self.settings.scheduler else EmbeddedPool(self.settings)

    def stop(self) -> None:
        """Close the pool; the running work of an embedded one is queued again without counting the attempt.

        Another service of this machine may run already: the jobs of its workers stay theirs.
        """
        if self._pool is None:
            return
        self._pool.close()
        if not self.settings.scheduler:
            try:
                for worker in self._find_dead_workers():
                    self.leases.requeue_jobs_of_worker(worker, "The job service was stopped.", counts_attempt=False)
            except CatalogueUnavailable as error:  # the next start gives it back
                log.warning("%s", error)

    def step(self) -> int:
        """Queue again the jobs of dead workers, forget ended submissions, submit due rows; how many were submitted."""
        now = time.monotonic()
        stepped_recently = now - self._last_complete_step_at < IDLE_STEP_INTERVAL_S
        if stepped_recently and not self._submissions and not self.leases.has_open_jobs():
            return 0

        self._last_complete_step_at = now
        self._requeue_jobs_of_dead_workers()
        self._requeue_jobs_of_silent_workers()
        if not self._started_pool.maintain():
            self._submissions.clear()
        self._forget_ended_submissions()
        if self._is_disk_low():
            return 0
        slots = self._started_pool.count_slots()
        self._note_and_retry_jobs(list(slots))
        return sum(self._submit(needs, count) for needs, count in slots.items())

    def _submit(self, needs: str, count: int) -> int:
        free = count - sum(submission.needs == needs for submission in self._submissions.values())
        if free <= 0:
            return 0
        settings = self.settings.without_secrets()  # whoever runs the scheduler can read what is submitted
        due = self.leases.find_due_jobs(needs, free, list(self._submissions))
        for job_id in due:
            name = f"job-{job_id}-{time.monotonic_ns()}"
            future = self._started_pool.client.submit(
                run_job, settings, job_id, key=name, resources={needs: 1}, retries=0, pure=False
            )
            future.add_done_callback(lambda _future: self.wake.set())
            self._submissions[job_id] = Submission(future, needs, time.monotonic())
        return len(due)

    def _forget_ended_submissions(self) -> None:
        """Forget submissions that ended, and those that the pool lost or never started."""
        waiting = self.leases.filter_unclaimed(list(self._submissions)) if self._submissions else set()
        for job_id, submission in list(self._submissions.items()):
            stuck = job_id in waiting and time.monotonic() - submission.submitted_at > CLAIM_TIMEOUT_S
            if submission.future.done() or stuck:
                submission.future.cancel()
                del self._submissions[job_id]

    def _requeue_jobs_of_dead_workers(self) -> None:
        """Queue again the jobs of workers of this machine whose process has ended."""
        for worker in self._find_dead_workers():
            self.leases.requeue_jobs_of_worker(worker, "The worker process ended unexpectedly.")

    def _find_dead_workers(self) -> set[str]:
        """Names of workers of this machine whose process has ended while a row is still theirs."""
        here = f"{self.settings.host_name}/"
        workers_here = [worker for worker in self.leases.find_busy_workers() if worker.startswith(here)]
        return {worker for worker in workers_here if not is_worker_alive(worker)}

    def _requeue_jobs_of_silent_workers(self) -> None:
        """Queue again the jobs whose lease is over; their workers on this machine hang, so they are killed.

        After a pause (the database did not answer, the machine slept) every lease is over although its worker lives:
        workers get the time to renew it first.
        """
        now = time.monotonic()
        if now - self._leases_checked_at > RENEWAL_GRACE_S:
            self._trusted_since = now
        self._leases_checked_at = now
        if now - self._trusted_since < RENEWAL_GRACE_S:
            return
        for worker in self.leases.find_silent_workers():
            if worker.startswith(f"{self.settings.host_name}/"):
                log.warning("a worker of this machine has been silent for %g s; it is ended", self.settings.lease_s)
                kill_worker(worker)
        self.leases.requeue_expired_leases()

    def _note_and_retry_jobs(self, served: list[str]) -> None:
        """Note on rows that no worker can serve why they wait; queue failed rows again as MINIPACS_RETRY says."""
        now = time.monotonic()
        if now - self._noted_and_retried_at < NOTE_AND_RETRY_INTERVAL_S:
            return
        self._noted_and_retried_at = now
        if served:
            self.leases.note_missing_workers(served)
        for kind, after_s in self.settings.retry_rules.items():
            if number := self.leases.retry_failed_jobs(kind, after_s):
                log.info("%d failed jobs of kind %s are queued again after %g s", number, kind, after_s)

    @property
    def _started_pool(self) -> Pool:
        if self._pool is None:
            raise ValueError("the runner was not started")
        return self._pool

    def _is_disk_low(self) -> bool:
        """Below the reserve no new work starts: results could not be written."""
        free_mb = shutil.disk_usage(self.settings.home).free // 2**20
        is_low = free_mb < self.settings.reserve_mb
        if is_low != self._below_reserve:
            reserve = f"MINIPACS_RESERVE_MB={self.settings.reserve_mb}"
            sentence = f"Waiting for disk space: less is free than {reserve}. Free some." if is_low else ""
            self.leases.note_wait_reason(sentence)
            log.warning("%s", sentence or f"{free_mb} MB of disk are free again: work goes on")
        self._below_reserve = is_low
        return is_low
