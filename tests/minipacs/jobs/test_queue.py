import pytest

from job_rows import STUDY, claim, order, submit
from minipacs.database import Database
from minipacs.errors import NotFound, Unreadable
from minipacs.jobs.claimed_job import ClaimedJob
from minipacs.jobs.queue import JobQueue


@pytest.fixture
def queue(database: Database) -> JobQueue:
    return JobQueue(database)


def test_the_same_work_is_one_row(queue: JobQueue) -> None:
    with queue.database.writing() as session:
        assert queue.submit(session, order())
        assert not queue.submit(session, order())
    assert len(queue.find_jobs_of_study(STUDY)) == 1


def test_a_queued_job_is_cancelled_at_once(queue: JobQueue) -> None:
    (job_id,) = submit(queue)
    queue.cancel(job_id)
    assert queue.get(job_id).state == "cancelled"
    assert ClaimedJob.claim(queue.database, job_id, "here/1/1", lease_s=30) is None


def test_retry_gives_all_attempts_back(queue: JobQueue) -> None:
    (job_id,) = submit(queue)
    assert not queue.retry(job_id)
    claim(queue.database, job_id).fail(Unreadable("It is broken."), "", is_permanent=True)
    assert queue.retry(job_id)
    job = queue.get(job_id)
    assert (job.state, job.attempt, job.error) == ("queued", 0, "")


def test_an_unknown_job_is_named(queue: JobQueue) -> None:
    with pytest.raises(NotFound, match="no job 77"):
        queue.get(77)
