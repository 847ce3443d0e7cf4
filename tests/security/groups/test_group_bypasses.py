"""Groups: no UID that is used twice, no name and no claim leads around the rule."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.auth import accounts
from api.commands import group
from archive_stand_in import ArchiveStandIn, running_archive_stand_in
from front_doors import FrontDoors, open_front_doors
from minipacs.catalogue import SegmentationResult
from minipacs.groups import membership
from segmentation.results.manifest import Manifest
from segmentation.results.store import record_in_catalogue
from two_groups import ALPHA, BETA, GHOST, add_token, fill_with_two_groups


@pytest.fixture
def archive() -> Iterator[ArchiveStandIn]:
    with running_archive_stand_in() as archive:
        yield archive


@pytest.fixture(params=["sqlite", "postgresql"])
def doors(request: pytest.FixtureRequest, tmp_path: Path, archive: ArchiveStandIn) -> Iterator[FrontDoors]:
    with open_front_doors(request.param, tmp_path, ORTHANC_URL=archive.url) as doors:
        fill_with_two_groups(doors.database, doors.settings)
        yield doors


@pytest.fixture
def client(doors: FrontDoors) -> FlaskClient:
    return doors.apps[0].test_client()


@pytest.mark.parametrize("doors", ["sqlite"], indirect=True)
def test_a_series_is_prompted_only_where_every_study_that_has_its_uid_is_visible(
    doors: FrontDoors, client: FlaskClient, archive: ArchiveStandIn
) -> None:
    headers = add_token(doors.database, "a", "annotator", ALPHA)

    def prompt(series: str) -> int:
        body = {"series": series, "prompts": [{"point": [0.0, 0.0, 0.0]}]}
        return client.post("/prompts", json=body, headers=headers).status_code

    no_service = 503
    archive.add_series(ALPHA.series, ALPHA.study)
    archive.add_series(BETA.series, BETA.study)
    assert [prompt(ALPHA.series), prompt(BETA.series), prompt("1.2.3.4")] == [no_service, 404, 404]
    archive.add_series(BETA.series, ALPHA.study)
    archive.add_series(ALPHA.series, BETA.study)
    assert [prompt(ALPHA.series), prompt(BETA.series)] == [404, 404]


def test_a_result_of_another_study_changes_no_row_of_the_same_uids(doors: FrontDoors) -> None:
    def record(uid: str, study: str, supersedes: list[str], created: str) -> None:
        identity = {"engine": "x", "version": "1"}
        manifest: Manifest = {
            "seg_series_instance_uid": uid, "study_instance_uid": study, "series_instance_uid": ALPHA.series,
            "identity": identity, "created": created, "supersedes": supersedes,
        }  # type: ignore[typeddict-item]  # fmt: skip
        record_in_catalogue(manifest, doors.database)

    record("1.9", BETA.study, [], "first")
    record("1.9", ALPHA.study, [], "foreign")
    record("1.8", ALPHA.study, ["1.9"], "foreign")
    with doors.database.reading() as session:
        row = session.get_one(SegmentationResult, "1.9")
        assert (row.study_instance_uid, row.created, row.superseded_by) == (BETA.study, "first", None)
    record("1.9", BETA.study, [], "again")
    with doors.database.reading() as session:
        assert session.get_one(SegmentationResult, "1.9").created == "again"


def test_members_whose_names_have_spaces_and_commas_are_put_in_and_taken_out(
    doors: FrontDoors, client: FlaskClient
) -> None:
    headers = add_token(doors.database, "boss", "admin", None)
    names = ["Anna Meier", "Berg, Carl", "anna"]
    for name in names:
        doors.add_user(name)

    def change(members: list[str], what: str = "") -> tuple[int, list[str]]:
        status = client.post(f"/groups/{BETA.name}/members{what}", json={"members": members}, headers=headers)
        return status.status_code, membership.list_members(doors.database, BETA.name)

    assert change(["Anna Meier", " Berg, Carl ", "anna token:boss"]) == (200, [*names, "token:boss"])
    assert change(["Anna Meier"], "/remove") == (200, ["Berg, Carl", "anna", "token:boss"])
    assert change(["Anna Meier"], "/remove")[0] == 404
    assert change(["Meier"], "/remove")[0] == 404
    assert change(["token:boss, anna"], "/remove") == (200, ["Berg, Carl"])
    assert change(["Berg, Carl"], "/remove") == (200, [])
    assert change(["Anna Meier, anna"]) == (200, ["Anna Meier", "anna"])
    accounts.delete_user(doors.database, "Anna Meier")
    assert membership.list_members(doors.database, BETA.name) == ["anna"]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("sees_all", [False, True])
def test_a_study_is_claimed_only_where_the_archive_has_it_afterwards(
    doors: FrontDoors, client: FlaskClient, archive: ArchiveStandIn, stored: bool, sees_all: bool
) -> None:
    study = "1.2.826.0.660066"
    archive.study_of_stow = study if stored else ""
    headers = add_token(doors.database, "a", "operator", None if sees_all else ALPHA)
    address = f"/dicom-web/studies/{study}?group={ALPHA.name}"
    content_type = 'multipart/related; type="application/dicom"; boundary=x'
    answer = client.post(address, data=b"", content_type=content_type, headers=headers, buffered=True)
    assert answer.status_code == 200
    assert any(study in path for path, _ in archive.asked)
    assert membership.list_groups_of_study(doors.database, study) == ([ALPHA.name] if stored else [])


@pytest.mark.parametrize("doors", ["sqlite"], indirect=True)
def test_a_claim_ends_with_a_request_that_fails_and_none_of_an_administrators_ends(
    doors: FrontDoors, client: FlaskClient, archive: ArchiveStandIn
) -> None:
    planned = "1.2.826.0.660067"
    membership.add_studies(doors.database, ALPHA.name, [planned], "admin")
    away = doors.open(orthanc_url="http://127.0.0.1:9").test_client()
    headers = add_token(doors.database, "a", "operator", None)
    for study in ("1.2.826.0.660066", planned):
        address = f"/dicom-web/studies/{study}?group={ALPHA.name}"
        content_type = 'multipart/related; type="application/dicom"; boundary=x'
        assert away.post(address, data=b"", content_type=content_type, headers=headers).status_code == 503
    assert membership.list_groups_of_study(doors.database, "1.2.826.0.660066") == []
    assert membership.list_groups_of_study(doors.database, planned) == [ALPHA.name]


@pytest.mark.parametrize("doors", ["sqlite"], indirect=True)
@pytest.mark.parametrize("key", ["fffffffff", "-1", "123456789abcdef0", "x", "0020000D0"])
def test_a_key_that_is_no_tag_is_refused(doors: FrontDoors, client: FlaskClient, key: str) -> None:
    headers = add_token(doors.database, "a", "viewer", ALPHA)
    for path in ("instances", "series", "studies"):
        assert client.get(f"/dicom-web/{path}?{key}=1", headers=headers).status_code == 400, path


def test_where_asks_the_archive_of_a_member_for_visible_uids_alone(
    doors: FrontDoors, client: FlaskClient, archive: ArchiveStandIn
) -> None:
    headers = add_token(doors.database, "a", "viewer", ALPHA)

    def find(text: str) -> list[str]:
        answer = client.get("/where", query_string={"q": text}, headers=headers)
        assert answer.status_code == 200
        return [study["StudyInstanceUID"] for study in answer.get_json()["studies"]]

    for side in (BETA, GHOST):
        for text in (side.patient_name, side.patient_id, side.accession, side.study, "Family*", "*"):
            assert BETA.study not in find(text)
    assert find(ALPHA.patient_id) == [ALPHA.study]
    assert archive.asked == []
    assert find(f" {ALPHA.study} ") == [ALPHA.study]
    assert {path for path, _ in archive.asked} == {"/tools/find"}


def test_a_member_is_taken_out_by_the_present_and_by_the_older_name_of_the_command(
    doors: FrontDoors, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    group.configure(parser)
    for action in ("remove-from", "take"):
        doors.add_user(action)
        for words in (["add", ALPHA.name, "--member", action], [action, ALPHA.name, "--member", action]):
            assert group.run(parser.parse_args(words), doors.settings) == 0
        assert action not in membership.list_members(doors.database, ALPHA.name)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    printed = capsys.readouterr().out
    assert "remove-from" in printed
    assert "take " not in printed.replace("take users", "")
