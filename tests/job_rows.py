"""Rows of the job table for the tests of its three views: the queue, the leases, the claimed job."""

from minipacs.database import Database
from minipacs.jobs.claimed_job import ClaimedJob
from minipacs.jobs.contract import Order
from minipacs.jobs.queue import JobQueue

STUDY = "1.2.3"


def order(key: str = "segment/1", priority: int = 0) -> Order:
    return Order(kind="segment", key=key, study_instance_uid=STUDY, args={"study_id": "a"}, priority=priority)


def submit(queue: JobQueue, *orders: Order) -> list[int]:
    """The numbers of the rows."""
    with queue.database.writing() as session:
        for each in orders or [order()]:
            queue.submit(session, each)
    return [job.id for job in queue.find_jobs_of_study(STUDY)]


def claim(database: Database, job_id: int, worker: str = "here/1/1", *, lease_s: float = 30) -> ClaimedJob:
    job = ClaimedJob.claim(database, job_id, worker, lease_s=lease_s)
    assert job is not None
    return job
