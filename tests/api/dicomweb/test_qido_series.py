"""The lists of series are the catalogue's, when it holds what the archive holds; else they are the archive's."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from minipacs.catalogue import Patient, Series, Study
from minipacs.errors import ArchiveUnreachable
from minipacs.jobs.contract import Order
from minipacs.jobs.planner import FollowedStudy
from minipacs.jobs.queue import JobQueue

STUDY = "2.25.1"
ROWS = [
    # number, modality, description
    (7, "SEG", "slicer segmentation"),
    (2, "CT", "Thorax 5 mm, Müller"),
    (None, "SR", "100% dose_report"),
    (2, "CT", "Thorax 1 mm"),
]


class AnArchive:
    """Holds the study with so many series, or does not answer."""

    series: int | None = len(ROWS)

    def count_series(self, study_id: str) -> int:
        assert study_id == "orthanc's"
        if self.series is None:
            raise ArchiveUnreachable("The archive does not answer.")
        return self.series

    def close(self) -> None:
        pass


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both databases."""
    return str(request.param)


@pytest.fixture
def archive(app: Flask) -> AnArchive:
    """The study is catalogued, and nothing of it waits. What Orthanc itself is asked, nobody answers: 503."""
    state = app.extensions["minipacs"]
    state._archive = AnArchive()
    with state.database.writing() as session:
        session.add(Patient(patient_key="A", patient_id="A", patient_name="Yamada^Tarou=山田^太郎"))
        session.flush()
        counts = {"number_of_study_related_series": len(ROWS)}
        session.add(Study(study_key="orthanc's", study_instance_uid=STUDY, patient_key="A", **counts))
        session.flush()
        for n, (number, modality, description) in enumerate(ROWS):
            session.add(
                Series(
                    series_key=f"series {n}", study_key="orthanc's", series_instance_uid=f"{STUDY}.{n}",
                    study_instance_uid=STUDY, modality=modality,
                    series_number=number, series_description=description, number_of_series_related_instances=n + 1,
                )
            )  # fmt: skip
        session.add(FollowedStudy(study_id="orthanc's", due=None, is_stable=False, study_instance_uid=STUDY))
    archive: AnArchive = state._archive
    return archive


@pytest.fixture
def ask(archive: AnArchive, viewer: Any) -> Callable[..., Any]:
    """The answer about the series of the study, or of all."""
    return lambda path=f"/dicom-web/studies/{STUDY}/series", **query: viewer(path, query_string=query)


def numbers(answer: Any) -> list[int]:
    """The last numbers of the UIDs answered."""
    assert answer.status_code == 200
    return [int(one["0020000E"]["Value"][0].rpartition(".")[2]) for one in answer.get_json(force=True)]


def test_series_come_by_number_and_those_without_one_last(ask: Callable[..., Any]) -> None:
    assert numbers(ask()) == [1, 3, 0, 2]


def test_a_series_has_what_the_standard_wants_of_it(ask: Callable[..., Any]) -> None:
    series = ask().get_json(force=True)[0]
    assert series["00080060"] == {"vr": "CS", "Value": ["CT"]}
    assert series["0008103E"]["Value"] == ["Thorax 5 mm, Müller"]
    assert series["00201209"]["Value"] == [2]
    assert series["00081190"]["Value"][0].endswith(f"/dicom-web/studies/{STUDY}/series/{STUDY}.1")
    assert "00100010" not in series


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"Modality": "CT"}, [1, 3]),
        ({"00080060": "SEG"}, [0]),
        ({"SeriesDescription": "*müller"}, [1]),
        ({"SeriesDescription": "Thorax ? mm"}, [3]),
        ({"SeriesDescription": "100%*"}, [2]),
        ({"SeriesNumber": "2,7"}, [1, 3, 0]),
        ({"SeriesNumber": "--5,²,x"}, []),
        ({"SeriesInstanceUID": f"{STUDY}.0\\{STUDY}.3"}, [3, 0]),
        ({"limit": "2", "offset": "1"}, [3, 0]),
        ({"includefield": "all", "SeriesDescription": ""}, [1, 3, 0, 2]),
    ],
)
def test_filters_wildcards_and_pages(ask: Callable[..., Any], query: dict[str, str], found: list[int]) -> None:
    assert numbers(ask(**query)) == found


def test_series_of_all_studies_are_asked_with_keys_of_patient_and_study(ask: Callable[..., Any]) -> None:
    answer = ask("/dicom-web/series", PatientName="*太郎*", Modality="CT")
    assert numbers(answer) == [1, 3]
    assert answer.get_json(force=True)[0]["00100010"]["Value"][0]["Ideographic"] == "山田^太郎"


def passed_on(answer: Any) -> bool:
    """Whether Orthanc was asked, which answers nobody here."""
    return bool(answer.status_code == 503)


@pytest.mark.parametrize("series", [len(ROWS) + 1, len(ROWS) - 1, None])
def test_what_the_catalogue_does_not_know_yet_is_the_archives_affair(
    archive: AnArchive, ask: Callable[..., Any], series: int | None
) -> None:
    archive.series = series
    assert passed_on(ask())


def test_a_study_that_waits_to_be_catalogued_is_the_archives_affair(app: Flask, ask: Callable[..., Any]) -> None:
    database = app.extensions["minipacs"].database
    with database.writing() as session:
        session.get_one(FollowedStudy, "orthanc's").due = 1.0
    assert passed_on(ask())
    with database.writing() as session:
        session.get_one(FollowedStudy, "orthanc's").due = None
        JobQueue(database).submit(session, Order("catalogue", "key of this", STUDY))
    assert passed_on(ask())


@pytest.mark.parametrize("query", [{"SeriesInstanceUID": "1.9"}, {"StationName": "CT1"}])
def test_an_unknown_series_and_other_keys_are_the_archives_affair(
    ask: Callable[..., Any], query: dict[str, str]
) -> None:
    assert passed_on(ask(**query))
