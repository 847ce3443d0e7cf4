"""Where is my study: one sentence, the way so far, and what to do, for each state a study can be in."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from minipacs.archive.client import Archive, ArchivedStudy
from minipacs.jobs.contract import Order
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import Job

STUDY, OTHER = "1.2.3.4.1", "1.2.3.4.2"
HTML = {"Accept": "text/html"}


def change(app: Flask, **values: Any) -> None:
    """The fixture's job as it would be."""
    with app.extensions["minipacs"].database.writing() as session:
        session.execute(update(Job).where(Job.study_instance_uid == STUDY).values(**values))


def way(viewer: Any, q: str = STUDY) -> dict[str, Any]:
    """The one study that is found."""
    (study,) = viewer(f"/where?q={q}").get_json()["studies"]
    return dict(study)


def test_a_waiting_study_tells_its_place_in_the_queue_and_about_how_long(app: Flask, viewer: Any) -> None:
    database = app.extensions["minipacs"].database
    change(app, state="done", started=1000.0, finished=1120.0)
    with database.writing() as session:
        for n in range(3):
            JobQueue(database).submit(session, Order("segment", f"k{n}", OTHER if n == 2 else f"9.{n}"))
    found = way(viewer, OTHER)
    (job,) = [step for step in found["steps"] if step["job"]]
    assert (found["state"], job["state"]) == ("waiting", "waiting")
    assert "2 jobs are before it" in job["sentence"]
    assert "2 min" in job["sentence"]
    assert job["left_s"] == 180  # three jobs of 120 s, two workers


def test_a_running_study_tells_its_stage_and_the_time_left(app: Flask, viewer: Any) -> None:
    change(app, state="running", stage="lungs", done=1, total=4, started=1.0)
    found = way(viewer)
    step = found["steps"][-1]
    assert (found["state"], step["percent"]) == ("running", 25)
    assert "lungs" in found["answer"]
    assert "left" in step["sentence"]


def test_a_failed_study_tells_what_went_wrong_and_what_to_do(app: Flask, viewer: Any, operator: Any) -> None:
    change(app, state="failed", error="The series has gaps.", hint="Send the missing images.", attempt=3)
    found = way(viewer)
    step = found["steps"][-1]
    assert found["state"] == "failed"
    assert "The series has gaps." in found["answer"]
    assert (step["hint"], step["can_retry"]) == ("Send the missing images.", True)
    page = operator(f"/where?q={STUDY}", headers=HTML).get_data(as_text=True)
    assert f'data-post="/jobs/{step["job"]}/retry"' in page
    assert "Send the missing images." in page
    assert "data-post" not in viewer(f"/where?q={STUDY}", headers=HTML).get_data(as_text=True)


def test_a_finished_study_leads_to_what_was_made(app: Flask, viewer: Any) -> None:
    change(app, state="done", result={"summary": "3 segments."}, started=1.0, finished=61.0)
    found = way(viewer)
    assert found["state"] == "done"
    assert "3 segments." in found["steps"][-1]["sentence"]
    assert any("/3d/" in link["url"] for link in found["links"])


@pytest.mark.parametrize("question", ["P1", "Ünïcödé", STUDY])
def test_a_study_is_found_by_patient_name_and_uid(viewer: Any, question: str) -> None:
    found = viewer("/where", query_string={"q": question}).get_json()
    assert STUDY in [study["StudyInstanceUID"] for study in found["studies"]]
    assert "does not answer" in found["trouble"]["message"]  # there is no archive in this test


def test_a_study_that_still_arrives_is_known_before_the_catalogue(viewer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"1.9.9": ArchivedStudy("an-id", "NEW", 0.0, 2)}
    monkeypatch.setattr(Archive, "find_studies", lambda *_: held)
    found = way(viewer, "NEW")
    assert (found["PatientID"], found["steps"][0]["state"]) == ("NEW", "waiting")
    assert "minipacs doctor" in found["steps"][0]["hint"]


def test_nothing_found_says_what_to_do(viewer: Any) -> None:
    assert viewer("/where?q=nobody").get_json()["studies"] == []
    assert "has not arrived" in viewer("/where?q=nobody", headers=HTML).get_data(as_text=True)
    assert "Ask for a study" in viewer("/where", headers=HTML).get_data(as_text=True)
