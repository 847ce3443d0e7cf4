"""UIDs that two studies bear: routes by UID answer about the one that is meant, lists have both."""

from datetime import date
from typing import Any

import pytest
from flask import Flask

from minipacs.catalogue import Instance, Patient, Rejection, Series, Study

STUDY, SERIES, IMAGE = "1.2.3.4.1", "1.2.3.4.1.1", "1.2.3.4.1.1.1"
"""Of the catalogue of `conftest`: a CT of the patient P1."""


@pytest.fixture
def twin(app: Flask) -> str:
    """A report without Patient ID, with all the UIDs of an image of the CT; the key of its study."""
    key = "key of the report"  # smaller than the CT's, so that the order of keys does not decide
    with app.extensions["minipacs"].database.writing() as session:
        session.add(Patient(patient_key=f"study:{STUDY}", patient_name="Nobody^Known"))
        session.flush()
        counts = {"number_of_study_related_series": 1, "number_of_study_related_instances": 1}
        values = {"study_description": "A report", "study_date": date(2024, 1, 1)}
        session.add(Study(study_key=key, study_instance_uid=STUDY, patient_key=f"study:{STUDY}", **values, **counts))
        session.flush()
        uids = {"study_instance_uid": STUDY, "series_instance_uid": SERIES}
        session.add(Series(series_key="key a", study_key=key, modality="SR", series_description="Report", **uids))
        session.flush()
        keys = {"instance_key": "key a", "series_key": "key a"}
        session.add(Instance(**keys, sop_instance_uid=IMAGE, series_instance_uid=SERIES, source="y"))
        session.add(
            Rejection(source="z", study_key=key, sop_instance_uid=IMAGE, code="no_picture", reason="R.", remedy="S.")
        )
    return key


def test_a_route_by_uid_answers_about_the_study_with_images(twin: str, viewer: Any) -> None:
    study = viewer(f"/studies/{STUDY}").get_json()
    assert (study["patient_key"], [series["Modality"] for series in study["series"]]) == ("P1", ["CT"])

    assert [series["Modality"] for series in viewer(f"/studies/{STUDY}/series").get_json()] == ["CT"]
    assert len(viewer(f"/studies/{STUDY}/images").get_json()["images"]) == 2
    assert viewer(f"/series/{SERIES}").get_json()["Modality"] == "CT"
    assert len(viewer(f"/series/{SERIES}/images").get_json()["images"]) == 2
    assert len(viewer(f"/images/{IMAGE}").get_json()["renderings"]) == 1
    assert viewer(f"/images/{IMAGE}/png").status_code == 200


def test_the_study_list_of_a_viewer_has_both_studies(twin: str, viewer: Any) -> None:
    found = viewer("/dicom-web/studies", query_string={"StudyInstanceUID": STUDY}).get_json(force=True)
    assert sorted(study["00080061"]["Value"] for study in found) == [["CT"], ["SR"]]


def test_a_list_that_is_read_page_by_page_has_each_row_once(twin: str, viewer: Any) -> None:
    images: list[str] = []
    address = "/images?limit=1"
    while address:
        page = viewer(address).get_json()
        images += [image["SOPInstanceUID"] for image in page["images"]]
        address = page["next"]

    assert len(images) == 7
    assert images.count(IMAGE) == 2


def test_the_status_of_a_study_does_not_blame_it_for_what_was_rejected_of_another(twin: str, viewer: Any) -> None:
    studies = viewer(f"/where?q={STUDY}").get_json()["studies"]
    assert "Rejections" not in {step["step"] for study in studies for step in study["steps"]}
