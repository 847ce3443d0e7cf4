"""The planner against an archive that is a table in memory; the real one is in tests/integration."""

from collections.abc import Iterable

import pytest
from sqlalchemy import select

from minipacs.archive.client import Change, ChangePage
from minipacs.archive.content import InstanceContent, SeriesContent, StudyContent
from minipacs.database import Database
from minipacs.errors import NotInArchive
from minipacs.jobs import planner
from minipacs.jobs.claimed_job import ClaimedJob
from minipacs.jobs.contract import Order
from minipacs.jobs.planner import FollowedStudy, Planner, PlannerCursorRow
from minipacs.jobs.record import Job
from minipacs.settings import Settings

STUDY = StudyContent(
    "study-a",
    "1.2.3",
    (SeriesContent("series-a", "1.2.3.1", "CT", "ACME", "chest", (InstanceContent("1.2.3.1.1", "i1"),)),),
)


class ArchiveInMemory:
    """As much of an archive as the planner asks."""

    def __init__(self) -> None:
        self.log: list[Change] = []
        self.studies: dict[str, StudyContent] = {}
        self.stable: set[str] = set()

    def happens(self, type_: str, resource_id: str) -> None:
        self.log.append(Change(len(self.log) + 1, type_, resource_id))

    def read_changes(self, since: int) -> ChangePage:
        entries = tuple(change for change in self.log if change.number > since)
        return ChangePage(entries, len(self.log), done=True)

    def list_study_ids(self) -> list[str]:
        return list(self.studies)

    def find_parent_studies(self, resource_ids: Iterable[str]) -> set[str]:
        return {r for r in resource_ids if r in self.studies}

    def is_stable(self, study_id: str) -> bool:
        return study_id in self.stable

    def read_study(self, study_id: str) -> StudyContent:
        if study_id not in self.studies:
            raise NotInArchive("gone")
        return self.studies[study_id]


class Counting:
    """A kind of work that wants every study once for each content."""

    def orders(self, study: StudyContent, settings: Settings) -> list[Order]:
        key = f"count/{study.study_instance_uid}/{study.digest(include_ours=False)}"
        return [Order(kind="count", key=key, study_instance_uid=study.study_instance_uid)]


@pytest.fixture
def archive() -> ArchiveInMemory:
    return ArchiveInMemory()


@pytest.fixture
def study_planner(archive: ArchiveInMemory, database: Database, monkeypatch: pytest.MonkeyPatch) -> Planner:
    monkeypatch.setattr(planner, "kinds_of_work", lambda: {"count": Counting()})
    settings = Settings.from_env({"MINIPACS_QUIET_S": "1000", "MINIPACS_RECONCILE_S": "100000"})
    study_planner = Planner(settings, archive, database)  # type: ignore[arg-type]
    study_planner._reconciled_at = float("inf")  # only where a test asks for it
    return study_planner


def jobs(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(Job.key).order_by(Job.id)))


def arrives(archive: ArchiveInMemory, study: StudyContent = STUDY) -> None:
    archive.studies[study.study_id] = study
    archive.happens("NewInstance", study.study_id)


def test_a_study_waits_until_it_is_stable(archive: ArchiveInMemory, study_planner: Planner, database: Database) -> None:
    arrives(archive)
    assert study_planner.step() == 0
    archive.stable.add("study-a")
    archive.happens("StableStudy", "study-a")
    assert study_planner.step() == 1
    assert len(jobs(database)) == 1


def test_a_notification_is_enough(archive: ArchiveInMemory, study_planner: Planner) -> None:
    arrives(archive)
    archive.stable.add("study-a")
    assert study_planner.step(notified_studies={"study-a"}) == 1


def test_a_notification_of_a_study_that_grows_again_waits(archive: ArchiveInMemory, study_planner: Planner) -> None:
    arrives(archive)
    assert study_planner.step(notified_studies={"study-a"}) == 0


def test_quiet_is_enough_without_a_notification(
    archive: ArchiveInMemory, study_planner: Planner, database: Database
) -> None:
    arrives(archive)
    study_planner.step()
    with database.writing() as session:
        session.get_one(FollowedStudy, "study-a").due = 0.0  # the quiet time has passed
    assert study_planner.step() == 1


def test_the_same_content_makes_no_second_job(
    archive: ArchiveInMemory, study_planner: Planner, database: Database
) -> None:
    arrives(archive)
    archive.stable.add("study-a")
    for _ in range(3):
        study_planner.step(notified_studies={"study-a"})
    assert len(jobs(database)) == 1


def test_our_own_result_starts_no_new_work(
    archive: ArchiveInMemory, study_planner: Planner, database: Database
) -> None:
    arrives(archive)
    archive.stable.add("study-a")
    study_planner.step(notified_studies={"study-a"})
    ours = SeriesContent("series-b", "2.25.1", "SEG", "minipacs", "slicer", (InstanceContent("2.25.2", "i2"),))
    arrives(archive, StudyContent("study-a", "1.2.3", (*STUDY.series, ours)))
    study_planner.step(notified_studies={"study-a"})
    assert len(jobs(database)) == 1


def test_a_late_instance_makes_new_work(archive: ArchiveInMemory, study_planner: Planner, database: Database) -> None:
    arrives(archive)
    archive.stable.add("study-a")
    study_planner.step(notified_studies={"study-a"})
    grown = SeriesContent(
        "series-a",
        "1.2.3.1",
        "CT",
        "ACME",
        "chest",
        (InstanceContent("1.2.3.1.1", "i1"), InstanceContent("1.2.3.1.2", "i2")),
    )
    arrives(archive, StudyContent("study-a", "1.2.3", (grown,)))
    study_planner.step(notified_studies={"study-a"})
    assert len(jobs(database)) == 2


def test_the_cursor_survives_a_restart(archive: ArchiveInMemory, study_planner: Planner, database: Database) -> None:
    arrives(archive)
    study_planner.step()
    with database.reading() as session:
        assert session.get_one(PlannerCursorRow, "follow").position == 1


def test_a_new_archive_is_read_from_the_beginning(
    archive: ArchiveInMemory, study_planner: Planner, database: Database
) -> None:
    for _ in range(5):
        archive.happens("NewInstance", "forgotten")
    study_planner.step()
    archive.log.clear()
    arrives(archive)
    archive.stable.add("study-a")
    archive.happens("StableStudy", "study-a")
    assert study_planner.step() == 1


def test_reconcile_finds_studies_without_notification_or_log_entry(
    archive: ArchiveInMemory, study_planner: Planner
) -> None:
    archive.studies["study-a"] = STUDY
    study_planner.reconcile()
    assert study_planner.step() == 1


def test_reconcile_queues_work_for_deleted_studies(
    archive: ArchiveInMemory, study_planner: Planner, database: Database
) -> None:
    arrives(archive)
    archive.stable.add("study-a")
    study_planner.step(notified_studies={"study-a"})
    archive.studies.clear()
    study_planner.reconcile()
    empty = StudyContent("study-a", "1.2.3", ()).digest(include_ours=False)
    assert jobs(database)[-1] == f"count/1.2.3/{empty}"
    with database.reading() as session:
        assert session.get(FollowedStudy, "study-a") is None


def test_a_study_deleted_and_sent_again_is_new(
    archive: ArchiveInMemory, study_planner: Planner, database: Database
) -> None:
    arrives(archive)
    archive.stable.add("study-a")
    study_planner.step(notified_studies={"study-a"})
    ended(study_planner, {})
    archive.studies.clear()
    study_planner.reconcile()
    ended(study_planner, {})
    arrives(archive)
    assert study_planner.step(notified_studies={"study-a"}) == 1


def test_work_whose_result_was_lost_with_its_study_is_done_again(
    archive: ArchiveInMemory, study_planner: Planner
) -> None:
    arrives(archive)
    archive.stable.add("study-a")
    study_planner.step(notified_studies={"study-a"})
    ended(study_planner, {"segmentations": [{"seg_series_instance_uid": "2.25.1"}]})
    study_planner.step(notified_studies={"study-a"})
    assert [job.state for job in study_planner.jobs.find_jobs_of_study("1.2.3")] == ["queued"]


def ended(study_planner: Planner, result: dict[str, object]) -> None:
    for job in study_planner.jobs.find_jobs_of_study("1.2.3"):
        claimed = ClaimedJob.claim(study_planner.database, job.id, "here/1/1", lease_s=30)
        assert claimed is None or claimed.finish(result)
