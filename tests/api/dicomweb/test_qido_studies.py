"""The study list is the catalogue's: order, filters, wildcards, paging, names of any script."""

from collections.abc import Callable
from datetime import date, time
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from minipacs.catalogue import Patient, Series, Study

PEOPLE = [
    ("A", "Müller^Änne", date(1970, 5, 1), "F"),
    ("B_1", "Yamada^Tarou=山田^太郎=やまだ^たろう", date(1980, 1, 2), "M"),
    ("C%2", "Smith^John", None, None),
]
NAMES = {"00080005", "00080056", "00081190", "0020000D", "00100010", "00100020", "00201206", "00201208"}
"""Always answered, whatever is asked (PS3.18 table 10.6.3-3)."""
Ask = Callable[..., list[str]]


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both databases."""
    return str(request.param)


@pytest.fixture
def reply(app: Flask, caller: Callable[..., Any]) -> Callable[..., Any]:
    """The answer to a question. The archive of this application answers nobody: only the catalogue can."""
    with app.extensions["minipacs"].database.writing() as session:
        session.execute(update(Series).values(modality=None))
        for key, name, born, sex in PEOPLE:
            session.add(
                Patient(
                    patient_key=key, patient_id=key, patient_name=name, patient_birth_date=born, patient_sex=sex,
                    number_of_patient_related_studies=4,
                )
            )  # fmt: skip
        session.flush()
        for n in range(12):
            session.add(
                Study(
                    study_key=f"study {n}", study_instance_uid=f"2.25.{n}", patient_key=PEOPLE[n % 3][0],
                    study_date=date(2025, 1 + n % 5, 10), study_time=time(8 + n, 30), accession_number=f"ACC{n:03}",
                    study_description="Thorax 50%" if n % 2 else "Head",
                )
            )  # fmt: skip
            session.flush()
            for i, modality in enumerate(("CT", "SEG") if n % 2 else ("MR",)):
                session.add(
                    Series(
                        series_key=f"series {n}.{i}", series_instance_uid=f"2.25.{n}.{i}", study_key=f"study {n}",
                        study_instance_uid=f"2.25.{n}", modality=modality,
                    )
                )  # fmt: skip
    client = caller()
    return lambda **query: client("/dicom-web/studies", query_string=query)


@pytest.fixture
def ask(reply: Callable[..., Any]) -> Ask:
    """The StudyInstanceUIDs answered, of the twelve that count here, by their last number."""

    def asked(**query: str) -> list[str]:
        uids = [study["0020000D"]["Value"][0] for study in reply(**query).get_json(force=True)]
        return [uid.removeprefix("2.25.") for uid in uids if uid.startswith("2.25.")]

    return asked


def test_the_newest_study_comes_first_and_one_without_a_date_last(reply: Callable[..., Any], ask: Ask) -> None:
    assert ask() == ["9", "4", "8", "3", "7", "2", "11", "6", "1", "10", "5", "0"]
    dates = [study["00080020"].get("Value") for study in reply().get_json(force=True)]
    assert dates[-1] is None
    assert dates.count(None) == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"PatientName": "*müller*", "limit": "101", "offset": "0", "fuzzymatching": "false"}, "9 3 6 0"),
        ({"PatientName": "*山田*"}, "4 7 1 10"),
        ({"PatientName": "smith^j?hn"}, "8 2 11 5"),
        ({"PatientName": "smith"}, ""),
        ({"00100020": "*b_*"}, "4 7 1 10"),
        ({"00100020": "C%*"}, "8 2 11 5"),
        ({"PatientID": "C_2"}, ""),
        ({"AccessionNumber": "ACC00?", "00081030": "*50%*"}, "9 3 7 1 5"),
        ({"StudyDescription": "Head", "PatientSex": "F"}, "6 0"),
        ({"ModalitiesInStudy": "SEG,US"}, "9 3 7 11 1 5"),
        ({"00080061": "MR\\XA", "StudyDate": "20250301-20250310"}, "2"),
        ({"StudyDate": "20250410"}, "8 3"),
        ({"00080020": "20250410-"}, "9 4 8 3"),
        ({"StudyDate": "-20250110"}, "10 5 0"),
        ({"PatientBirthDate": "19800102"}, "4 7 1 10"),
        ({"StudyInstanceUID": "2.25.1,2.25.2"}, "2 1"),
        ({"StudyInstanceUID": "2.25.1\\2.25.2"}, "2 1"),
        ({"PatientName": "*", "PatientID": "", "StudyInstanceUID": "2.25.7"}, "7"),
    ],
)
def test_every_filter_of_the_viewer_is_understood(ask: Ask, query: dict[str, str], found: str) -> None:
    assert ask(**query) == found.split()


def test_pages_join_without_gap_or_repetition(ask: Ask) -> None:
    pages = [ask(limit="5", offset=str(offset), StudyDate="20250101-20251231") for offset in (0, 5, 10, 15)]
    assert [len(page) for page in pages] == [5, 5, 2, 0]
    assert [uid for page in pages for uid in page] == ask()


def test_a_study_says_what_the_standard_wants(reply: Callable[..., Any]) -> None:
    answer = reply(StudyInstanceUID="2.25.1")
    assert answer.mimetype == "application/dicom+json"
    (study,) = answer.get_json(force=True)
    assert not NAMES - set(study)
    names = {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    assert study["00100010"] == {"vr": "PN", "Value": [names]}
    assert study["00080061"] == {"vr": "CS", "Value": ["CT", "SEG"]}
    assert study["00080020"] == {"vr": "DA", "Value": ["20250210"]}
    assert study["00080030"] == {"vr": "TM", "Value": ["093000"]}
    assert study["00081190"]["Value"] == ["http://localhost/dicom-web/studies/2.25.1"]


def test_a_study_without_modality_is_listed_without_the_element(reply: Callable[..., Any]) -> None:
    studies = reply(PatientID="P1").get_json(force=True)
    assert len(studies) == 2
    assert all("00080061" not in study for study in studies)


def test_fuzzy_matching_is_refused_in_words(reply: Callable[..., Any]) -> None:
    assert "literal matching" in reply(PatientName="Smith*", fuzzymatching="true").headers["Warning"]


@pytest.mark.parametrize("query", [{"StudyDate": "yesterday"}, {"limit": "-1"}, {"offset": "x"}, {"PatientID": "a\0"}])
def test_a_question_that_makes_no_sense_is_told_so(reply: Callable[..., Any], query: dict[str, str]) -> None:
    assert reply(**query).status_code == 400


@pytest.mark.parametrize("query", [{"InstitutionName": "X"}, {"StudyInstanceUID": "9.9"}, {"StudyTime": "08-"}])
def test_what_the_catalogue_cannot_know_is_the_archives_to_answer(
    reply: Callable[..., Any], query: dict[str, str]
) -> None:
    assert reply(**query).status_code == 503


def test_a_name_asked_of_an_archive_that_is_down_reaches_no_log(
    reply: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert reply(PatientName="Secret*", InstitutionName="X").status_code == 503
    assert "Secret" not in caplog.text


def test_an_answer_cut_at_the_most_says_so(reply: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.dicomweb.matching.MAX_RESULTS", 5)
    assert len(reply().get_json(force=True)) == 5
    assert "more results" in reply(limit="101").headers["Warning"]
    assert "Warning" not in reply(limit="2").headers
