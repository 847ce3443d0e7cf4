import threading

import pytest
from sqlalchemy import update

from job_rows import claim, submit
from minipacs.database import Database
from minipacs.errors import EngineFailed, Unreadable
from minipacs.jobs.claimed_job import ClaimedJob, JobProgress
from minipacs.jobs.leases import JobLeases
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import Job


@pytest.fixture
def queue(database: Database) -> JobQueue:
    return JobQueue(database)


def make_due(database: Database) -> None:
    with database.writing() as session:
        session.execute(update(Job).values(not_before=0.0))


def test_a_row_is_claimed_once_however_many_try(queue: JobQueue) -> None:
    (job_id,) = submit(queue)
    claimed_jobs: list[ClaimedJob | None] = []

    def try_to_claim(number: int) -> None:
        claimed_jobs.append(ClaimedJob.claim(queue.database, job_id, f"here/{number}/1", lease_s=30))

    threads = [threading.Thread(target=try_to_claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claimed is not None for claimed in claimed_jobs) == 1


def test_progress_is_recorded_and_cancellation_heard(queue: JobQueue) -> None:
    (job_id,) = submit(queue)
    claimed = claim(queue.database, job_id)
    assert claimed.renew_lease(JobProgress("reading", 3, 10, "slices")) == "go on"
    job = queue.get(job_id)
    assert (job.stage, job.done, job.total, job.note) == ("reading", 3, 10, "slices")
    queue.cancel(job_id)
    assert claimed.renew_lease(JobProgress()) == "cancel"
    assert claimed.end_cancelled_job()
    assert queue.get(job_id).state == "cancelled"


def test_a_zombie_cannot_finish_its_successors_work(queue: JobQueue) -> None:
    (job_id,) = submit(queue)
    zombie = claim(queue.database, job_id)
    assert JobLeases(queue.database).requeue_jobs_of_worker("here/1/1", "The worker process ended unexpectedly.") == 1
    successor = claim(queue.database, job_id, "here/2/1")
    assert zombie.renew_lease(JobProgress()) == "lost"
    assert not zombie.finish({})
    assert successor.finish({"summary": "done well"})
    assert queue.get(job_id).summary == "done well"


def test_a_permanent_error_fails_at_once_and_keeps_its_sentence(queue: JobQueue) -> None:
    (job_id,) = submit(queue)
    claim(queue.database, job_id).fail(Unreadable("It is broken.", "Send it again."), "trace", is_permanent=True)
    job = queue.get(job_id)
    assert (job.state, job.error, job.hint, job.detail) == ("failed", "It is broken.", "Send it again.", "trace")


def test_a_passing_error_is_tried_again_later_and_not_for_ever(queue: JobQueue) -> None:
    (job_id,) = submit(queue)
    for attempt in (1, 2, 3):
        claimed = claim(queue.database, job_id)
        assert claimed.attempt == attempt
        claimed.fail(EngineFailed("It crashed."), "", is_permanent=False)
        if attempt < 3:
            assert queue.get(job_id).state == "queued"
            assert list(JobLeases(queue.database).find_due_jobs("cpu", 1, [])) == []  # not before its back-off is over
    job = queue.get(job_id)
    assert (job.state, job.error) == ("failed", "It crashed.")


def test_back_off_grows_but_not_for_ever(database: Database) -> None:
    queue = JobQueue(database, attempt_limit=100)
    (job_id,) = submit(queue)
    waits = []
    for _ in range(12):
        make_due(database)
        claim(database, job_id).fail(EngineFailed("It crashed."), "", is_permanent=False)
        job = queue.get(job_id)
        waits.append(job.not_before - (job.started or 0))
    assert [round(wait) for wait in waits[:4]] == [2, 4, 8, 16]
    assert round(waits[-1]) == 60


def test_postponed_work_is_another_workers_though_the_attempt_is_the_same(queue: JobQueue) -> None:
    (job_id,) = submit(queue)
    before = claim(queue.database, job_id, "here/1/1")
    assert before.postpone(EngineFailed("Away."))
    make_due(queue.database)
    claim(queue.database, job_id, "here/2/1")
    assert not before.postpone(EngineFailed("Away."))
    assert not before.finish({})
    assert queue.get(job_id).state == "running"


def test_a_cancelled_job_is_not_postponed(queue: JobQueue) -> None:
    (job_id,) = submit(queue)
    claimed = claim(queue.database, job_id)
    queue.cancel(job_id)
    assert claimed.postpone(EngineFailed("Away."))
    assert queue.get(job_id).state == "cancelled"
