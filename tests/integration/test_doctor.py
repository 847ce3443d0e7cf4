"""The doctor beside the running product: nothing wrong, and what settings alone can break."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import text

from dicom_objects import ROOT, as_file, nothing
from minipacs import cli
from minipacs.database import Database
from minipacs.doctor import catalogue_check, machine_checks, work_checks
from stack import RunningStack

FAR = 2**31
"""A change further than any archive has come."""


@pytest.mark.integration
def test_a_healthy_product_has_nothing_wrong(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in stack.settings.as_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MINIPACS_TEST_DATA", raising=False)
    assert cli.main(["doctor", "--json"]) == 0
    said = {line["part"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert list(said) == [check.part for check in machine_checks.CHECKS]
    assert {part: line for part, line in said.items() if line["state"] == "failed"} == {}
    assert {part for part, line in said.items() if line["state"] == "warning"} <= {"queue", "disk", "user"}
    assert "schema" in said["database"]["seen"]


@pytest.mark.integration
def test_a_wrong_password_at_orthanc_is_named(stack: RunningStack) -> None:
    found = dict(machine_checks.run_checks(replace(stack.settings, orthanc_password="wrong")))
    for part in ("archive", "dicomweb", "change log"):
        assert found[part].state == "failed"
        assert "MINIPACS_ORTHANC_USER" in found[part].remedy


@pytest.mark.integration
def test_settings_changed_after_the_start_are_named(stack: RunningStack) -> None:
    changed = replace(stack.settings, stable_age_s=77, aet="OTHER")
    assert machine_checks.check_archive(changed).state == "warning"
    assert "DicomAet, StableAge" in machine_checks.check_orthanc_configuration(changed).seen


@pytest.mark.integration
def test_a_catalogue_of_another_archive_is_recognised(stack: RunningStack, database: Database) -> None:
    with database.writing() as session:
        session.execute(text(f"INSERT INTO letter_box (name, last) VALUES ('follow', {FAR})"))
    found = work_checks.check_change_log(replace(stack.settings, database_url=database.url))
    assert found.state == "failed"
    assert "another archive" in found.seen


@pytest.mark.integration
def test_what_the_catalogue_lacks_is_named_by_its_uid(stack: RunningStack, database: Database) -> None:
    uids = {"StudyInstanceUID": f"{ROOT}.77", "SeriesInstanceUID": f"{ROOT}.77.1", "SOPInstanceUID": f"{ROOT}.77.1.1"}
    instance_id = stack.archive.store_file(as_file(nothing(1, PatientID="DOCTOR", **uids)))

    (found,) = stack.archive.find_instances([instance_id, "deleted"])
    assert found.sop_instance_uid == f"{ROOT}.77.1.1"
    assert found.study_id == stack.archive.find_study_id(f"{ROOT}.77")

    finding = catalogue_check.check_catalogue(replace(stack.settings, database_url=database.url))
    assert finding.state == "failed"
    assert "neither row nor rejection" in finding.seen
    assert "Test" not in finding.seen
