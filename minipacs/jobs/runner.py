"""Rows to the pool. The runner holds no state that matters: kill it, start it again, run two.

It gives out only as many rows as there are free slots, the most urgent first, so that priorities
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
from minipacs.jobs.pool import EmbeddedPool, Pool, RemotePool
from minipacs.jobs.record import Jobs
from minipacs.jobs.task import end_worker, is_alive, run_job
from minipacs.settings import Settings

UNCLAIMED_S = 30.0
"""A row given to the pool that nobody claimed for so long is given out again."""
GAP_S = 5.0
"""After a gap of so long in our looks, workers have so long to renew their leases before one counts as over."""
IDLE_STEP_S = 5.0
"""While no job is open a whole step is made so often; the other steps only look whether there is one."""
RULES_S = 10.0
"""How often rows are looked at that a rule concerns."""
log = logging.getLogger(__name__)


@dataclass
class Flight:
    """A row that was given to the pool."""

    future: Future[str]
    needs: str
    since: float


class Runner:
    """Moves rows to the pool, step by step."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.jobs = Jobs(database, lease_s=settings.lease_s, attempts=settings.attempts)
        self._flights: dict[int, Flight] = {}
        self._pool: Pool | None = None
        self._below_reserve = False
        self.wake = threading.Event()
        """Set when there may be something to do before the next step is due."""
        self._looked = -float("inf")
        """When we last looked at the leases without trouble, on the monotonic clock."""
        self._trusted = -float("inf")
        """Since when we have looked without a gap."""
        self._ruled = -float("inf")
        self._stepped = -float("inf")
        """When the last whole step was made."""

    def start(self) -> None:
        """Open the pool; work that died with an earlier service of this machine is given back."""
        self._requeue_dead()
        self._pool = RemotePool(self.settings) if self.settings.scheduler else EmbeddedPool(self.settings)

    def stop(self) -> None:
        """Close the pool; of the embedded one, running work is handed back without counting the attempt.

        Another service of this machine may run already: what its workers hold stays theirs.
        """
        if self._pool is None:
            return
        self._pool.close()
        if not self.settings.scheduler:
            try:
                for worker in self._dead():
                    self.jobs.hand_back(worker)
            except CatalogueUnavailable as error:  # the next start gives it back
                log.warning("%s", error)

    def step(self) -> int:
        """Give back what the dead hold, land what is finished, give out what is due; how many went out."""
        if not self._flights and time.monotonic() - self._stepped < IDLE_STEP_S and not self.jobs.are_open():
            return 0
        self._stepped = time.monotonic()
        self._requeue_dead()
        self._requeue_silent()
        if not self._the_pool.tend():
            self._flights.clear()
        self._land()
        if self._disk_is_low():
            return 0
        slots = self._slots()
        self._now_and_then(list(slots))
        return sum(self._give_out(needs, count) for needs, count in slots.items())

    def _give_out(self, needs: str, count: int) -> int:
        free = count - sum(flight.needs == needs for flight in self._flights.values())
        if free <= 0:
            return 0
        chosen = self.jobs.due(needs, free, list(self._flights))
        for job_id in chosen:
            name = f"job-{job_id}-{time.monotonic_ns()}"
            future = self._the_pool.client.submit(
                run_job, self.settings, job_id, key=name, resources={needs: 1}, retries=0, pure=False
            )
            future.add_done_callback(lambda _future: self.wake.set())
            self._flights[job_id] = Flight(future, needs, time.monotonic())
        return len(chosen)

    def _land(self) -> None:
        """Forget rows that ended, and rows that the pool lost or never started."""
        waiting = self.jobs.queued_again(list(self._flights)) if self._flights else set()
        for job_id, flight in list(self._flights.items()):
            stuck = job_id in waiting and time.monotonic() - flight.since > UNCLAIMED_S
            if flight.future.done() or stuck:
                flight.future.cancel()
                del self._flights[job_id]

    def _requeue_dead(self) -> None:
        """A worker process of this machine that is gone holds nothing any more."""
        for worker in self._dead():
            self.jobs.requeue_of(worker, "The worker process ended unexpectedly.")

    def _dead(self) -> set[str]:
        """Workers of this machine that are gone, and hold rows."""
        here = f"{self.settings.host_name}/"
        return {worker for _, worker in self.jobs.running() if worker.startswith(here) and not is_alive(worker)}

    def _requeue_silent(self) -> None:
        """Who let its lease run out holds nothing any more; on this machine it is ended, for it hangs or is stopped.

        After a gap (the database was away, the machine slept) everybody's lease is over and nobody had a chance to
        renew it: the living get the time for it first.
        """
        now = time.monotonic()
        if now - self._looked > GAP_S:
            self._trusted = now
        self._looked = now
        if now - self._trusted < GAP_S:
            return
        for worker in self.jobs.silent():
            if worker.startswith(f"{self.settings.host_name}/"):
                log.warning("a worker of this machine has been silent for %g s; it is ended", self.settings.lease_s)
                end_worker(worker)
        self.jobs.requeue_expired()

    def _now_and_then(self, served: list[str]) -> None:
        """What waits for a kind of worker that is not there says so; MINIPACS_RETRY: what failed comes again."""
        now = time.monotonic()
        if now - self._ruled < RULES_S:
            return
        self._ruled = now
        if served:
            self.jobs.tell_unserved(served)
        for kind, after_s in self.settings.retry_rules.items():
            if number := self.jobs.retry_failed(kind, after_s):
                log.info("%d failed jobs of kind %s are queued again after %g s", number, kind, after_s)

    @property
    def _the_pool(self) -> Pool:
        if self._pool is None:
            raise ValueError("the runner was not started")
        return self._pool

    def _slots(self) -> dict[str, int]:
        """How many jobs of each need the pool can run at once."""
        slots: dict[str, int] = {}
        for worker in self._the_pool.workers():
            for needs, count in (worker["resources"] or {"cpu": worker["nthreads"]}).items():
                slots[needs] = slots.get(needs, 0) + int(count)
        return slots

    def _disk_is_low(self) -> bool:
        """Below the reserve no new work starts: results could not be written."""
        free_mb = shutil.disk_usage(self.settings.home).free // 2**20
        low = free_mb < self.settings.reserve_mb
        if low != self._below_reserve:
            reserve = f"MINIPACS_RESERVE_MB={self.settings.reserve_mb}"
            sentence = f"Waiting for disk space: less is free than {reserve}. Free some." if low else ""
            self.jobs.tell_waiting(sentence)
            log.warning("%s", sentence or f"{free_mb} MB of disk are free again: work goes on")
        self._below_reserve = low
        return low
