import pytest

from job_rows import claim, order, submit
from minipacs.database import Database
from minipacs.jobs.leases import JobLeases
from minipacs.jobs.queue import JobQueue

CRASHED = "The worker process ended unexpectedly."
STOPPED = "The worker was stopped."


@pytest.fixture
def queue(database: Database) -> JobQueue:
    return JobQueue(database)


@pytest.fixture
def leases(database: Database) -> JobLeases:
    return JobLeases(database)


def test_urgent_work_goes_first(queue: JobQueue, leases: JobLeases) -> None:
    low, high = submit(queue, order("a"), order("b", priority=5))
    assert list(leases.find_due_jobs("cpu", 10, [])) == [high, low]
    assert list(leases.find_due_jobs("cpu", 10, [high])) == [low]
    assert list(leases.find_due_jobs("gpu", 10, [])) == []


def test_a_worker_without_its_lease_is_silent_and_its_row_queued_again(queue: JobQueue, leases: JobLeases) -> None:
    (job_id,) = submit(queue)
    claim(queue.database, job_id, "here/1/1", lease_s=-1)
    assert leases.find_busy_workers() == leases.find_silent_workers() == {"here/1/1"}
    assert leases.requeue_expired_leases() == 1
    assert queue.get(job_id).state == "queued"
    assert leases.find_busy_workers() == set()


def test_poison_that_kills_its_worker_stops_after_its_attempts(queue: JobQueue, leases: JobLeases) -> None:
    (job_id,) = submit(queue)
    for number in range(3):
        assert queue.get(job_id).state == "queued"
        claim(queue.database, job_id, f"here/{number}/1")
        leases.requeue_jobs_of_worker(f"here/{number}/1", CRASHED)
    job = queue.get(job_id)
    assert job.state == "failed"
    assert "every attempt" in job.error


def test_a_graceful_stop_does_not_cost_an_attempt(queue: JobQueue, leases: JobLeases) -> None:
    (job_id,) = submit(queue)
    for number in range(5):
        claim(queue.database, job_id, f"here/{number}/1")
        assert leases.requeue_jobs_of_worker(f"here/{number}/1", STOPPED, counts_attempt=False) == 1
        job = queue.get(job_id)
        assert (job.state, job.attempt, job.note) == ("queued", 0, STOPPED)


def test_a_row_taken_from_a_worker_cannot_be_finished_by_it(queue: JobQueue, leases: JobLeases) -> None:
    (job_id,) = submit(queue)
    before = claim(queue.database, job_id, "here/1/1")
    leases.requeue_jobs_of_worker("here/1/1", STOPPED, counts_attempt=False)
    claim(queue.database, job_id, "here/2/1")
    assert not before.finish({})
    assert queue.get(job_id).state == "running"


@pytest.mark.parametrize("counts_attempt", [True, False])
def test_a_row_whose_cancellation_was_asked_for_is_not_queued_again(
    queue: JobQueue, leases: JobLeases, counts_attempt: bool
) -> None:
    (job_id,) = submit(queue)
    claim(queue.database, job_id, "here/1/1")
    queue.cancel(job_id)
    leases.requeue_jobs_of_worker("here/1/1", STOPPED, counts_attempt=counts_attempt)
    job = queue.get(job_id)
    assert (job.state, job.attempt, job.worker) == ("cancelled", 1, None)
    assert job.finished is not None
