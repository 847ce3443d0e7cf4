"""Groups: a member sees the studies of its groups, and of everything else not so much as that it exists."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, func, select, text, update

from api.auth import accounts
from front_doors import FrontDoors, open_front_doors
from minipacs.catalogue import Patient, Study
from minipacs.database import Database
from minipacs.groups import membership, visibility
from minipacs.groups.restricted_database import RestrictedConnections, RestrictedDatabase
from minipacs.jobs.record import Job
from minipacs.tables import load_tables
from two_groups import ALPHA, BETA, GHOST, Side, add_member, add_token, fill_with_two_groups

Get = Callable[[str], Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def doors(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FrontDoors]:
    with open_front_doors(request.param, tmp_path) as doors:
        fill_with_two_groups(doors.database, doors.settings)
        yield doors


@pytest.fixture
def client(doors: FrontDoors) -> FlaskClient:
    return doors.apps[0].test_client()


@pytest.fixture
def alpha(doors: FrontDoors, client: FlaskClient) -> Get:
    """JSON as a token of the first group gets it."""
    headers = add_token(doors.database, "a", "operator", ALPHA)
    return lambda path: client.get(path, headers=headers).get_json()


@pytest.fixture
def restricted(doors: FrontDoors) -> Iterator[RestrictedDatabase]:
    """The database as anna sees it, who is in the first group."""
    membership.add_members(doors.database, ALPHA.name, ["anna"])
    connections = RestrictedConnections(doors.database)
    yield connections.for_member("anna")
    connections.close()


# -- the rule ---------------------------------------------------------------------------------------
def test_it_is_decided_for_every_table_who_sees_which_rows() -> None:
    decided = {*visibility.VISIBLE, *visibility.WITHOUT_STUDIES, *visibility.NAMED_IN_JSON, visibility.TOTALS}
    assert set(load_tables().tables) == decided


@pytest.mark.parametrize("table", sorted({*visibility.VISIBLE} - {"api_audit"}))
def test_a_member_reads_its_rows_of_a_table_by_any_kind_of_query(restricted: RestrictedDatabase, table: str) -> None:
    whole = load_tables().tables[table]
    with restricted.reading() as session:
        rows = [str(tuple(row)) for row in session.execute(select(whole))]
        plain = [str(tuple(row)) for row in session.execute(text(f'SELECT * FROM "{table}"'))]
        counted = session.scalar(select(func.count()).select_from(whole))
    assert rows
    assert len(rows) == len(plain) == counted
    assert not [row for row in rows + plain if str(BETA.number) in row or BETA.name in row]


def test_a_writing_session_of_a_member_changes_none_but_its_rows(
    restricted: RestrictedDatabase, doors: FrontDoors
) -> None:
    with restricted.writing() as session:
        assert session.get(Job, BETA.job) is None
        assert session.scalar(select(func.count()).where(Job.state == "failed")) == 1
        session.execute(update(Job).values(note="changed"))
        session.execute(delete(Job).where(Job.id == BETA.job))
    with doors.database.reading() as session:
        assert session.get_one(Job, BETA.job).note == ""
        assert session.get_one(Job, ALPHA.job).note == "changed"


def test_connections_that_serve_one_member_after_another_never_mix_them(
    restricted: RestrictedDatabase, doors: FrontDoors
) -> None:
    membership.add_members(doors.database, BETA.name, ["bert"])
    connections = RestrictedConnections(doors.database)
    seen = []
    for member in ("anna", "bert", "nobody", "anna", "bert"):
        database = connections.for_member(member)
        with database.reading() as session:
            seen.append([*session.scalars(select(Study.study_instance_uid))])
        assert [row[0] for row in database.look_up(select(Study.study_instance_uid))] == seen[-1]
    connections.close()
    assert seen == [[ALPHA.study], [BETA.study], [], [ALPHA.study], [BETA.study]]


# -- what a member sees -----------------------------------------------------------------------------
def test_counts_are_those_of_the_visible_studies(alpha: Get) -> None:
    assert alpha("/")["counts"] == {"patients": 1, "studies": 1, "series": 2, "images": 2}
    assert alpha("/studies/count") == {"study_count": 1}
    assert alpha("/jobs")["counts"]["failed"] == 1


def test_a_patient_of_two_groups_shows_the_counts_of_the_visible_studies(alpha: Get, doors: FrontDoors) -> None:
    with doors.database.writing() as session:
        session.execute(
            update(Study).where(Study.study_instance_uid == BETA.study).values(patient_key=ALPHA.patient_id)
        )
        session.execute(update(Patient).values(number_of_patient_related_studies=2))
    assert alpha(f"/patients/{ALPHA.patient_id}/counts")["study_count"] == 1
    assert [study["StudyInstanceUID"] for study in alpha(f"/patients/{ALPHA.patient_id}/studies")] == [ALPHA.study]


@pytest.mark.parametrize(
    "address",
    [
        "/studies/{0.study}",
        "/studies/{0.study}/series",
        "/studies/{0.study}/segments",
        "/series/{0.series}",
        "/images/{0.instance}",
        "/images/{0.instance}/png",
        "/patients/{0.patient_id}",
        "/jobs/{0.job}",
        "/results/{0.result}/manifest.json",
        "/studies/{0.result}/labels",
        "/download/{0.result}/labels.nii.gz",
        "/output/{0.patient_id}/scans",
        "/imageinfo/{0.picture}.png",
    ],
)
def test_what_another_group_has_is_answered_as_what_is_not_there(
    doors: FrontDoors, client: FlaskClient, address: str
) -> None:
    address = address.replace("/studies/{0.result}", "/studies/{0.study}/results/{0.series}/slicer")
    headers = add_token(doors.database, "a", "operator", ALPHA)

    def ask(side: Side) -> tuple[int, str]:
        answer = client.get(address.format(side), headers=headers, buffered=True)
        return answer.status_code, answer.get_data(as_text=True).replace(str(side.number), "N")

    assert ask(BETA) == ask(GHOST)
    assert ask(BETA)[0] == 404
    assert client.get(address.format(ALPHA), headers=headers, buffered=True).status_code == 200


def test_who_sees_all_sees_studies_of_no_group_too_and_a_member_does_not(
    doors: FrontDoors, client: FlaskClient, alpha: Get
) -> None:
    membership.remove_studies(doors.database, ALPHA.name, [ALPHA.study])
    assert alpha("/studies")["studies"] == []
    everything = client.get("/studies", headers=add_token(doors.database, "all", "viewer", None)).get_json()
    assert len(everything["studies"]) == 2


# -- membership -------------------------------------------------------------------------------------
def test_a_change_of_membership_counts_from_the_next_request_on_in_every_process(doors: FrontDoors) -> None:
    headers = add_token(doors.database, "a", "viewer", ALPHA)
    clients = [doors.apps[0].test_client(), doors.open().test_client()]

    def studies() -> list[list[str]]:
        pages = [client.get("/studies", headers=headers).get_json()["studies"] for client in clients]
        return [[study["StudyInstanceUID"] for study in page] for page in pages]

    assert studies() == [[ALPHA.study]] * 2
    membership.add_members(doors.database, BETA.name, ["token:a"])
    assert [sorted(each) for each in studies()] == [[ALPHA.study, BETA.study]] * 2
    membership.remove_members(doors.database, ALPHA.name, ["token:a"])
    assert studies() == [[BETA.study]] * 2
    accounts.set_sees_all(doors.database, "token:a", True)
    assert [len(each) for each in studies()] == [2, 2]
    accounts.set_sees_all(doors.database, "token:a", False)
    membership.remove_group(doors.database, BETA.name)
    assert studies() == [[], []]


def test_a_user_is_limited_by_password_by_session_and_by_the_users_tokens(
    doors: FrontDoors, client: FlaskClient
) -> None:
    name = add_member(doors.database, ALPHA, "viewer")
    token = accounts.create_token(doors.database, "annas", "viewer", name)
    client.post("/login", data={"user": name, "password": "a good password"})
    for options in ({"auth": (name, "a good password")}, {"headers": {"Authorization": f"Bearer {token}"}}, {}):
        found = client.get("/studies", **options).get_json()["studies"]
        assert [study["StudyInstanceUID"] for study in found] == [ALPHA.study], options


def test_a_token_sees_no_more_than_its_user(doors: FrontDoors, client: FlaskClient) -> None:
    name = add_member(doors.database, ALPHA, "viewer")
    token = accounts.create_token(doors.database, "annas", "viewer", name)
    membership.add_members(doors.database, BETA.name, ["token:annas"])
    found = client.get("/studies", headers={"Authorization": f"Bearer {token}"}).get_json()["studies"]
    assert [study["StudyInstanceUID"] for study in found] == [ALPHA.study]


def test_another_user_of_a_removed_users_name_is_in_no_group(doors: FrontDoors) -> None:
    name = add_member(doors.database, ALPHA, "viewer")
    accounts.delete_user(doors.database, name)
    assert membership.list_groups_of_member(doors.database, name) == []


def test_an_administrator_sees_all_and_cannot_be_limited(doors: FrontDoors, client: FlaskClient) -> None:
    headers = add_token(doors.database, "boss", "admin", None)
    answer = client.post("/users/admin/visibility", json={"sees_all": False}, headers=headers)
    assert answer.status_code == 400
    assert len(client.get("/studies", headers=headers).get_json()["studies"]) == 2


def test_groups_outlast_a_catalogue_that_is_emptied_and_built_again(
    doors: FrontDoors, alpha: Get, restricted: RestrictedDatabase
) -> None:
    with doors.database.writing() as session:
        for table in ("rejection", "segment", "rendering", "instance", "series", "study", "patient", "result"):
            session.execute(text(f"DELETE FROM {table}"))
    assert alpha("/studies")["studies"] == []
    with doors.database.writing() as session:
        for side in (ALPHA, BETA):
            session.add(Patient(patient_key=side.patient_id))
            session.flush()
            session.add(
                Study(study_key=f"key {side.study}", study_instance_uid=side.study, patient_key=side.patient_id)
            )
    assert [study["StudyInstanceUID"] for study in alpha("/studies")["studies"]] == [ALPHA.study]


def test_an_installation_of_before_the_groups_shows_every_study_to_everybody(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    database.upgrade_schema("0006")
    with database.writing() as session:
        session.execute(text("INSERT INTO api_user VALUES ('old', 'viewer', 'x', 0, 1.0)"))
    database.upgrade_schema()
    found = accounts.find_principal(database, "old")
    assert found is not None
    assert found.sees_all
    database.close()


# -- links ------------------------------------------------------------------------------------------
def test_a_link_opens_no_more_than_its_maker_may_see_now(doors: FrontDoors, client: FlaskClient) -> None:
    name = add_member(doors.database, ALPHA, "operator")
    login = (name, "a good password")
    share = client.post("/shares", json={"files": [f"{ALPHA.result}/labels.nii.gz"]}, auth=login)
    assert share.status_code == 201
    address = "/shared/" + share.get_json()["url"].rpartition("/")[2]
    assert client.get(address, buffered=True).status_code == 200
    membership.remove_members(doors.database, ALPHA.name, [name])
    assert client.get(address).status_code == 410
    membership.add_members(doors.database, ALPHA.name, [name])
    assert client.get(address, buffered=True).status_code == 200
    accounts.delete_user(doors.database, name)
    assert client.get(address).status_code == 410
