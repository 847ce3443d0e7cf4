"""Engines are listed with their reasons; asking for the same work is the same job."""

from typing import Any

import pytest
from flask import Flask

from minipacs.archive.content import InstanceContent, SeriesContent, StudyContent
from minipacs.errors import NotInArchive

STUDY = "1.2.3.4.1"
CT = SeriesContent("s", "1.2.3.4.1.1", "CT", "Maker", "Chest", (InstanceContent("1.2.3.4.1.1.1", "i"),))


class AnArchive:
    """Holds one study with one CT series."""

    def find_study_id(self, study_instance_uid: str) -> str:
        if study_instance_uid != STUDY:
            raise NotInArchive(f"The archive has no study {study_instance_uid}.")
        return "s"

    def read_study(self, study_id: str) -> StudyContent:
        return StudyContent(study_id, STUDY, (CT,))

    def close(self) -> None:
        pass


@pytest.fixture
def archive(app: Flask) -> None:
    app.extensions["minipacs"]._archive = AnArchive()


def test_every_engine_is_listed(viewer: Any) -> None:
    answer = viewer("/engines").get_json()
    (slicer,) = [e for e in answer["engines"] if e["name"] == "slicer"]
    assert slicer["available"]
    assert "CT" in slicer["modalities"]
    assert answer["automatic"] == "slicer"


@pytest.mark.usefixtures("archive")
def test_the_same_work_asked_for_again_is_the_same_job_queued_again(caller: Any, operator: Any) -> None:
    annotator = caller("annotator")
    first = annotator(f"/studies/{STUDY}/segment", "POST", json={"engine": "slicer"})
    assert first.status_code == 202
    job = first.get_json()
    assert (job["study"], job["state"]) == (STUDY, "queued")
    operator(f"/jobs/{job['id']}/cancel", "POST")
    again = annotator(f"/studies/{STUDY}/segment", "POST").get_json()
    assert (again["id"], again["state"]) == (job["id"], "queued")


@pytest.mark.usefixtures("archive")
def test_who_may_only_look_starts_nothing(viewer: Any) -> None:
    assert viewer(f"/studies/{STUDY}/segment", "POST").status_code == 403


@pytest.mark.usefixtures("archive")
@pytest.mark.parametrize(
    ("study", "body", "status"),
    [(STUDY, {"engine": "nobody"}, 503), (STUDY, {"engine": 7}, 400), ("1.9", {}, 404), (STUDY, [], 400)],
)
def test_what_cannot_be_asked_for_is_refused_with_a_reason(operator: Any, study: str, body: Any, status: int) -> None:
    answer = operator(f"/studies/{study}/segment", "POST", json=body)
    assert answer.status_code == status
    assert answer.get_json()["error"]["hint"] or status == 404
