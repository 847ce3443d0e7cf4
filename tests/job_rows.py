"""Rows of the job table for the tests of its three views: the queue, the leases, the hold."""

from minipacs.database import Database
from minipacs.jobs.contract import Order
from minipacs.jobs.hold import JobHold
from minipacs.jobs.queue import JobQueue

STUDY = "1.2.3"


def order(key: str = "segment/1", priority: int = 0) -> Order:
    return Order(kind="segment", key=key, study_instance_uid=STUDY, args={"study_id": "a"}, priority=priority)


def submit(queue: JobQueue, *orders: Order) -> list[int]:
    """The numbers of the rows."""
    with queue.database.writing() as session:
        for each in orders or [order()]:
            queue.submit(session, each)
    return [job.id for job in queue.of_study(STUDY)]


def claim(database: Database, job_id: int, worker: str = "here/1/1", *, lease_s: float = 30) -> JobHold:
    hold = JobHold.claim(database, job_id, worker, lease_s=lease_s)
    assert hold is not None
    return hold
