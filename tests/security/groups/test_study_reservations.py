"""A study that a killed process put into a group, and that never came, leaves the group."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from front_doors import FrontDoors, open_front_doors
from minipacs.groups import membership, reservation
from minipacs.groups.membership import GroupedStudy
from minipacs.jobs.planner import Planner
from two_groups import add_token

GROUP, STUDY = "heart", "1.2.826.0.660066"
STORE_ONE_STUDY = """
import sys
from api import create_app
from minipacs.settings import Settings

study, group, authorization = sys.argv[1:]
create_app(Settings.from_env()).test_client().post(
    f"/dicom-web/studies/{study}?group={group}",
    data=b"", content_type='multipart/related; type="application/dicom"; boundary=x',
    headers={"Authorization": authorization},
)
"""


class ArchiveOfStudies:
    """An archive that has these studies; as much of it as a reconciliation asks."""

    def __init__(self, *studies: str) -> None:
        self.studies = studies

    def list_study_ids(self) -> list[str]:
        return []

    def find_parent_studies(self, _: object) -> set[str]:
        return set()

    def find_ids(self, level: str, uid: str) -> list[str]:
        return [f"{level} {uid}"] if uid in self.studies else []


@pytest.fixture(params=["sqlite", "postgresql"])
def doors(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FrontDoors]:
    with open_front_doors(request.param, tmp_path) as doors:
        membership.create_group(doors.database, GROUP)
        membership.create_group(doors.database, "lung")
        yield doors


def store_and_kill(doors: FrontDoors) -> None:
    """Begin to store the study by STOW-RS, in a process that is killed while the archive has not answered."""
    headers = add_token(doors.database, "sender", "operator", None)
    with socket.create_server(("127.0.0.1", 0)) as archive:
        url = f"http://127.0.0.1:{archive.getsockname()[1]}"
        settings = {**doors.settings.as_environment(), "MINIPACS_ORTHANC_URL": url}
        command = [sys.executable, "-c", STORE_ONE_STUDY, STUDY, GROUP, headers["Authorization"]]
        sender = subprocess.Popen(command, env={**os.environ, **settings})
        archive.settimeout(120)
        try:
            connection, _ = archive.accept()
        finally:
            sender.kill()
            sender.wait()
        connection.close()


def reconcile(doors: FrontDoors, *archived: str) -> list[str]:
    """The groups of the study, after the job service compared archive and catalogue."""
    Planner(doors.settings, ArchiveOfStudies(*archived), doors.database).reconcile()  # type: ignore[arg-type]
    return membership.list_groups_of_study(doors.database, STUDY)


def let_time_pass(doors: FrontDoors) -> None:
    """As if all reservations were older than they may be."""
    with doors.database.writing() as session:
        is_reserved = GroupedStudy.reserved_until.is_not(None)
        session.execute(update(GroupedStudy).where(is_reserved).values(reserved_until=1.0))


def test_a_study_that_never_came_leaves_the_group_it_was_put_into(doors: FrontDoors) -> None:
    store_and_kill(doors)
    assert reconcile(doors) == [GROUP]  # it may still be on its way
    let_time_pass(doors)
    assert reconcile(doors) == []
    assert reconcile(doors, STUDY) == []  # it comes later, from elsewhere


def test_a_study_that_came_before_the_process_was_killed_stays_in_its_group(doors: FrontDoors) -> None:
    store_and_kill(doors)
    let_time_pass(doors)
    assert reconcile(doors, STUDY) == [GROUP]
    assert reconcile(doors) == [GROUP]  # deleted later: a study that comes back is in its groups as before


def test_a_study_that_an_administrator_puts_into_a_group_is_reserved_for_no_time(doors: FrontDoors) -> None:
    store_and_kill(doors)
    membership.set_groups_of_study(doors.database, STUDY, [GROUP, "lung"], "admin")
    let_time_pass(doors)
    assert reconcile(doors) == [GROUP, "lung"]


def test_an_upload_that_takes_longer_than_its_reservation_still_ends_in_its_group(doors: FrontDoors) -> None:
    assert reservation.reserve_study(doors.database, GROUP, STUDY, "sender")
    let_time_pass(doors)
    assert reconcile(doors) == []
    reservation.confirm_reservation(doors.database, GROUP, STUDY, "sender")
    let_time_pass(doors)
    assert reconcile(doors) == [GROUP]
    with doors.database.reading() as session:
        assert session.scalars(select(GroupedStudy.reserved_until)).all() == [None]


def test_an_upload_that_takes_long_puts_no_study_of_others_into_its_group(doors: FrontDoors) -> None:
    assert reservation.reserve_study(doors.database, GROUP, STUDY, "sender")
    let_time_pass(doors)
    assert reconcile(doors) == []
    membership.add_studies(doors.database, "lung", [STUDY], "another")
    reservation.confirm_reservation(doors.database, GROUP, STUDY, "sender")
    assert membership.list_groups_of_study(doors.database, STUDY) == ["lung"]
