import threading

import pytest
from sqlalchemy import update

from minipacs.database import Database
from minipacs.errors import EngineFailed, NotFound, Unreadable
from minipacs.jobs.contract import Order
from minipacs.jobs.record import Claim, Job, Jobs, Progress


def order(key: str = "segment/1", priority: int = 0) -> Order:
    return Order(kind="segment", key=key, study_instance_uid="1.2.3", args={"study_id": "a"}, priority=priority)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database, lease_s=30, attempts=3)


def submitted(jobs: Jobs, *orders: Order) -> list[int]:
    with jobs.database.writing() as session:
        for each in orders or [order()]:
            jobs.submit(session, each)
    return [job.id for job in jobs.of_study("1.2.3")]


def claimed(jobs: Jobs, job_id: int, worker: str = "here/1/1") -> Claim:
    claim = jobs.claim(job_id, worker)
    assert claim is not None
    return claim


def test_the_same_work_is_one_row(jobs: Jobs) -> None:
    with jobs.database.writing() as session:
        assert jobs.submit(session, order())
        assert not jobs.submit(session, order())
    assert len(jobs.of_study("1.2.3")) == 1


def test_a_row_is_claimed_once_however_many_try(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    claims: list[Claim | None] = []
    threads = [threading.Thread(target=lambda n=n: claims.append(jobs.claim(job_id, f"here/{n}/1"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claim is not None for claim in claims) == 1


def test_urgent_work_goes_first(jobs: Jobs) -> None:
    low, high = submitted(jobs, order("a"), order("b", priority=5))
    assert list(jobs.due("cpu", 10, [])) == [high, low]
    assert list(jobs.due("cpu", 10, [high])) == [low]
    assert list(jobs.due("gpu", 10, [])) == []


def test_progress_is_told_and_cancellation_heard(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    claim = claimed(jobs, job_id)
    assert jobs.beat(claim, Progress("reading", 3, 10, "slices")) == "go on"
    job = jobs.get(job_id)
    assert (job.stage, job.done, job.total, job.note) == ("reading", 3, 10, "slices")
    jobs.cancel(job_id)
    assert jobs.beat(claim, Progress()) == "cancel"
    assert jobs.cancelled(claim)
    assert jobs.get(job_id).state == "cancelled"


def test_a_queued_job_is_cancelled_at_once(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    jobs.cancel(job_id)
    assert jobs.get(job_id).state == "cancelled"
    assert jobs.claim(job_id, "here/1/1") is None


def test_a_zombie_cannot_finish_its_successors_work(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    zombie = claimed(jobs, job_id)
    assert jobs.requeue_of("here/1/1", "The worker process ended unexpectedly.") == 1
    successor = claimed(jobs, job_id, "here/2/1")
    assert jobs.beat(zombie, Progress()) == "lost"
    assert not jobs.finish(zombie, {})
    assert jobs.finish(successor, {"summary": "done well"})
    assert jobs.get(job_id).summary == "done well"


def test_an_expired_lease_gives_the_row_back(database: Database) -> None:
    silent = Jobs(database, lease_s=-1, attempts=3)
    (job_id,) = submitted(silent)
    claimed(silent, job_id)
    assert silent.requeue_expired() == 1
    assert silent.get(job_id).state == "queued"


def test_a_permanent_error_fails_at_once_and_keeps_its_sentence(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    jobs.fail(claimed(jobs, job_id), Unreadable("It is broken.", "Send it again."), "trace", permanent=True)
    job = jobs.get(job_id)
    assert (job.state, job.error, job.hint, job.detail) == ("failed", "It is broken.", "Send it again.", "trace")


def test_a_passing_error_is_tried_again_later_and_not_for_ever(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    for attempt in (1, 2, 3):
        claim = claimed(jobs, job_id)
        assert claim.attempt == attempt
        jobs.fail(claim, EngineFailed("It crashed."), "", permanent=False)
        if attempt < 3:
            assert jobs.get(job_id).state == "queued"
            assert list(jobs.due("cpu", 1, [])) == []  # not before its back-off is over
    assert jobs.get(job_id).state == "failed"


def test_poison_that_kills_its_worker_stops_after_its_attempts(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    for number in range(3):
        claimed(jobs, job_id, f"here/{number}/1")
        jobs.requeue_of(f"here/{number}/1", "The worker process ended unexpectedly.")
    job = jobs.get(job_id)
    assert job.state == "failed"
    assert "every attempt" in job.error


def test_a_graceful_stop_does_not_cost_an_attempt(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    claimed(jobs, job_id, "here/1/1")
    attempts = jobs.get(job_id).attempts
    assert jobs.hand_back("here/1/1") == 1
    job = jobs.get(job_id)
    assert job.state == "queued"
    assert job.attempts - job.attempt == attempts


def test_what_was_handed_back_cannot_be_finished_by_who_had_it(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    before = claimed(jobs, job_id, "here/1/1")
    jobs.hand_back("here/1/1")
    claimed(jobs, job_id, "here/2/1")
    assert not jobs.finish(before, {})
    assert jobs.get(job_id).state == "running"


def test_a_graceful_stop_does_not_queue_what_was_cancelled(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    claimed(jobs, job_id, "here/1/1")
    jobs.cancel(job_id)
    assert jobs.hand_back("here/1/1") == 0
    assert jobs.get(job_id).state == "cancelled"


def test_retry_gives_all_attempts_back(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    assert not jobs.retry(job_id)
    jobs.fail(claimed(jobs, job_id), Unreadable("It is broken."), "", permanent=True)
    assert jobs.retry(job_id)
    job = jobs.get(job_id)
    assert (job.state, job.attempt, job.error) == ("queued", 0, "")


def test_an_unknown_job_is_named(jobs: Jobs) -> None:
    with pytest.raises(NotFound, match="no job 77"):
        jobs.get(77)


def test_back_off_grows_but_not_for_ever(database: Database) -> None:
    jobs = Jobs(database, attempts=100)
    (job_id,) = submitted(jobs)
    waits = []
    for _ in range(12):
        with database.writing() as session:
            session.execute(update(Job).values(not_before=0))
        claim = claimed(jobs, job_id)
        jobs.fail(claim, EngineFailed("It crashed."), "", permanent=False)
        job = jobs.get(job_id)
        waits.append(job.not_before - (job.started or 0))
    assert [round(wait) for wait in waits[:4]] == [2, 4, 8, 16]
    assert round(waits[-1]) == 60


def test_what_was_postponed_is_another_workers_though_the_attempt_is_the_same(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    before = claimed(jobs, job_id, "here/1/1")
    assert jobs.postpone(before, EngineFailed("Away."))
    with jobs.database.writing() as session:
        session.execute(update(Job).values(not_before=0.0))
    claimed(jobs, job_id, "here/2/1")
    assert not jobs.postpone(before, EngineFailed("Away."))
    assert not jobs.finish(before, {})
    assert jobs.get(job_id).state == "running"


def test_a_cancelled_job_is_not_postponed(jobs: Jobs) -> None:
    (job_id,) = submitted(jobs)
    claim = claimed(jobs, job_id)
    jobs.cancel(job_id)
    assert jobs.postpone(claim, EngineFailed("Away."))
    assert jobs.get(job_id).state == "cancelled"
