"""The job record for people and the planner: submit, read, cancel, retry."""

from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from minipacs.archive.content import StudyContent
from minipacs.database import Database
from minipacs.errors import NotFound
from minipacs.jobs.contract import Order, segmentation_uids
from minipacs.jobs.record import ENDED_STATES, UNTRIED, Job, execute_and_count


class JobQueue:
    """What people and the planner read and change in the job table."""

    def __init__(self, database: Database, *, attempt_limit: int = 3) -> None:
        self.database = database
        self.attempt_limit = attempt_limit

    def submit(self, session: Session, order: Order) -> bool:
        """Queue an order in the caller's transaction; `False` when its row is there already."""
        insert = self.database.build_insert(Job).values(
            key=order.key,
            kind=order.kind,
            study_instance_uid=order.study_instance_uid,
            args=order.args,
            needs=order.needs,
            priority=order.priority,
            state="queued",
            attempt_limit=self.attempt_limit,
            created=self.database.now(),
        )
        is_new = insert.on_conflict_do_nothing(index_elements=["key"]).returning(Job.id)
        return session.execute(is_new).first() is not None

    def submit_again(self, session: Session, order: Order) -> bool:
        """Queue an order, also where its row has ended; `False` when it is queued or running."""
        if self.submit(session, order):
            return True
        ended = update(Job).where(Job.key == order.key, Job.state.in_(ENDED_STATES))
        return bool(execute_and_count(session, ended.values(**UNTRIED)))

    def retry_jobs_with_lost_results(self, session: Session, study: StudyContent) -> int:
        """Queue done jobs again whose results the archive lost (the study was deleted and sent again); how many."""
        in_archive = {series.series_instance_uid for series in study.series}
        done = select(Job).where(Job.study_instance_uid == study.study_instance_uid, Job.state == "done")
        lost = [job.id for job in session.scalars(done) if not set(segmentation_uids(job.result or {})) <= in_archive]
        return execute_and_count(session, update(Job).where(Job.id.in_(lost)).values(**UNTRIED))

    def forget_ended_jobs(self, session: Session, study_instance_uid: str) -> None:
        """Delete the ended jobs of a study that was deleted: when it is sent again, it is new."""
        of_study = Job.study_instance_uid == study_instance_uid
        session.execute(delete(Job).where(of_study, Job.state.in_(ENDED_STATES)))

    def get(self, job_id: int) -> Job:
        """A row, detached; raises `NotFound`."""
        with self.database.reading() as session:
            job = session.get(Job, job_id)
            if job is None:
                raise NotFound(f"There is no job {job_id}.", "GET /jobs lists them.")
            session.expunge(job)
            return job

    def find_jobs_of_study(self, study_instance_uid: str) -> Sequence[Job]:
        """Every job of a study, oldest first, detached."""
        of_study = select(Job).where(Job.study_instance_uid == study_instance_uid)
        with self.database.reading() as session:
            jobs = session.scalars(of_study.order_by(Job.id)).all()
            session.expunge_all()
            return jobs

    def cancel(self, job_id: int) -> None:
        """Cancel a queued job now; ask a running one to stop, which it does at its next heartbeat."""
        job = update(Job).where(Job.id == job_id)
        with self.database.writing() as session:
            now = self.database.now()
            session.execute(job.where(Job.state == "queued").values(state="cancelled", finished=now, cancel=True))
            session.execute(job.where(Job.state == "running").values(cancel=True))

    def retry(self, job_id: int) -> bool:
        """Queue an ended job again, with all its attempts; `False` when it is queued or running."""
        ended = update(Job).where(Job.id == job_id, Job.state.in_(ENDED_STATES))
        with self.database.writing() as session:
            return bool(execute_and_count(session, ended.values(**UNTRIED)))
