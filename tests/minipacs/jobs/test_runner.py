"""The runner with a pool that is a list; the embedded Dask pool is in tests/integration."""

import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from sqlalchemy import update

from minipacs.database import Database
from minipacs.errors import EngineFailed
from minipacs.jobs import runner as runner_module
from minipacs.jobs.claimed_job import ClaimedJob
from minipacs.jobs.contract import Order
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import Job
from minipacs.jobs.runner import Runner
from minipacs.settings import Settings, describe_settings
from waiting import FOREVER_S, PATIENCE_S


class FakeFuture:
    """A future that is done when the test says so."""

    def __init__(self) -> None:
        self.finished = False
        self.done_callback: Callable[[object], None] = lambda _future: None

    def add_done_callback(self, callback: Callable[[object], None]) -> None:
        self.done_callback = callback

    def done(self) -> bool:
        return self.finished

    def cancel(self) -> None:
        self.finished = True


class FakePool:
    """A pool, and its Dask client in one."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.remembers = True
        self.submitted: list[int] = []
        self.sent: list[bytes] = []
        """What was submitted, as it goes to the scheduler."""
        self.futures: list[FakeFuture] = []

    @property
    def client(self) -> "FakePool":
        return self

    def maintain(self) -> bool:
        return self.remembers

    def count_slots(self) -> dict[str, int]:
        return {"cpu": self.slots}

    def submit(self, function: object, settings: Settings, job_id: int, **_options: object) -> FakeFuture:
        self.sent.append(pickle.dumps((function, settings, job_id)))
        self.submitted.append(job_id)
        self.futures.append(FakeFuture())
        return self.futures[-1]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"MINIPACS_HOME": str(tmp_path), "MINIPACS_RESERVE_MB": "1"})


@pytest.fixture
def pool() -> FakePool:
    return FakePool(slots=2)


@pytest.fixture
def runner(settings: Settings, database: Database, pool: FakePool) -> Runner:
    runner = Runner(settings, database)
    runner._pool = pool
    return runner


def submit(runner: Runner, *keys: str, priority: int = 0, needs: str = "cpu") -> None:
    database = runner.leases.database
    with database.writing() as session:
        for key in keys:
            JobQueue(database).submit(session, Order("segment", key, "1.2.3", priority=priority, needs=needs))


def claim(runner: Runner, job_id: int, worker: str) -> ClaimedJob | None:
    return ClaimedJob.claim(runner.leases.database, job_id, worker, lease_s=30)


def row(runner: Runner, job_id: int = 1) -> Job:
    return JobQueue(runner.leases.database).get(job_id)


def test_only_as_many_rows_go_out_as_there_are_slots(runner: Runner, pool: FakePool) -> None:
    submit(runner, "a", "b", "c")
    assert runner.step() == 2
    assert runner.step() == 0
    pool.futures[0].finished = True
    claim(runner, pool.submitted[0], "elsewhere/1/1")
    assert runner.step() == 1


def test_no_secret_is_sent_to_the_scheduler(runner: Runner, pool: FakePool) -> None:
    canaries = {name: f"canary-{name}" for name, setting in describe_settings().items() if setting.is_secret}
    runner.settings = replace(runner.settings, **canaries)
    submit(runner, "a")
    assert runner.step() == 1
    (sent,) = pool.sent
    assert [name for name, canary in canaries.items() if canary.encode() in sent] == []


def test_the_most_urgent_goes_first(runner: Runner, pool: FakePool) -> None:
    submit(runner, "slow", "slower")
    submit(runner, "urgent", priority=9)
    runner.step()
    assert pool.submitted[0] == 3


def test_two_runners_on_one_table_are_harmless(runner: Runner, settings: Settings, database: Database) -> None:
    other = Runner(settings, database)
    other._pool = FakePool(slots=2)
    submit(runner, "a")
    assert (runner.step(), other.step()) == (1, 1)
    claimed_jobs = [claim(runner, 1, f"elsewhere/{n}/1") for n in range(2)]
    assert [claimed is not None for claimed in claimed_jobs] == [True, False]


def test_a_row_that_a_dead_process_of_this_machine_holds_is_given_back(runner: Runner, settings: Settings) -> None:
    submit(runner, "a")
    claim(runner, 1, f"{settings.host_name}/999999/1")
    runner.step()
    assert row(runner).state == "queued"
    assert "ended unexpectedly" in row(runner).note


def test_a_row_of_another_machine_waits_for_its_lease(runner: Runner) -> None:
    submit(runner, "a")
    claim(runner, 1, "elsewhere/999999/1")
    runner.step()
    assert row(runner).state == "running"


def test_below_the_disk_reserve_no_new_work_starts_and_the_row_says_why(
    settings: Settings, database: Database, pool: FakePool
) -> None:
    full = Runner(Settings.from_env({**settings.as_environment(), "MINIPACS_RESERVE_MB": str(10**9)}), database)
    full._pool = pool
    submit(full, "a")
    assert full.step() == 0
    assert pool.submitted == []
    assert "MINIPACS_RESERVE_MB" in row(full).note


def over(runner: Runner) -> None:
    """Every lease is over."""
    with runner.leases.database.writing() as session:
        session.execute(update(Job).values(lease_until=1.0))


def test_a_silent_worker_of_this_machine_is_ended_and_its_row_given_back(
    runner: Runner, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "RENEWAL_GRACE_S", 0.0)
    with subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOREVER_S})"]) as worker:
        created = psutil.Process(worker.pid).create_time()
        submit(runner, "a")
        claim(runner, 1, f"{settings.host_name}/{worker.pid}/{created:.0f}")
        over(runner)
        worker.send_signal(signal.SIGSTOP)
        runner.step()
        assert worker.wait(PATIENCE_S) == -signal.SIGKILL
    assert row(runner).state == "queued"


def test_after_a_gap_the_living_may_renew_their_leases_first(runner: Runner) -> None:
    submit(runner, "a")
    claim(runner, 1, "elsewhere/999999/1")
    over(runner)
    runner.step()
    assert row(runner).state == "running"
    runner._trusted_since -= runner_module.RENEWAL_GRACE_S
    runner.step()
    assert row(runner).state == "queued"


def test_work_that_a_lost_scheduler_had_is_given_out_again(runner: Runner, pool: FakePool) -> None:
    submit(runner, "a")
    assert runner.step() == 1
    pool.remembers = False
    assert runner.step() == 1
    assert pool.submitted == [1, 1]


def test_an_end_wakes_the_runner_at_once(runner: Runner, pool: FakePool) -> None:
    submit(runner, "a")
    runner.step()
    assert not runner.wake.is_set()
    pool.futures[0].done_callback(pool.futures[0])
    assert runner.wake.is_set()


def test_failed_jobs_are_queued_again_by_rule(
    settings: Settings, database: Database, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ruled = Runner(Settings.from_env({**settings.as_environment(), "MINIPACS_RETRY": "segment=60, other=0"}), database)
    ruled._pool = pool
    submit(ruled, "a", "b")
    for job_id in (1, 2):
        claimed = claim(ruled, job_id, "elsewhere/1/1")
        assert claimed is not None
        claimed.fail(EngineFailed("It crashed."), "", is_permanent=True)
    with database.writing() as session:
        session.execute(update(Job).where(Job.id == 1).values(finished=Job.finished - 61))
    ruled.step()
    assert [row(ruled, job_id).state for job_id in (1, 2)] == ["queued", "failed"]


def test_a_job_that_needs_a_worker_that_is_not_there_says_so(runner: Runner, pool: FakePool) -> None:
    submit(runner, "heavy", needs="gpu")
    assert runner.step() == 0
    assert pool.submitted == []
    assert "no worker takes jobs that need a gpu. Set MINIPACS_GPUS" in row(runner).note


def test_an_idle_runner_makes_few_whole_steps_and_sees_new_work_at_once(
    runner: Runner, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(pool, "count_slots", lambda: looks.append(1) or {"cpu": 1})
    for _ in range(5):
        runner.step()
    assert len(looks) == 1
    submit(runner, "new")
    assert runner.step() == 1
