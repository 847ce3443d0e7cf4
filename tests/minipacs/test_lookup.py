"""Which of the rows that bear one UID is meant."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from minipacs.catalogue import Instance, Patient, Series, Study
from minipacs.catalogue.lookup import (
    find_instance,
    find_series,
    find_studies,
    find_study,
    select_instance_key,
    select_study_key,
)
from minipacs.database import Database
from postgres import new_database

STUDY, SERIES, SOP = "1.2", "1.2.3", "1.2.3.4"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty catalogue of each kind."""
    with new_database(request.param, tmp_path) as empty:
        yield empty


def add_study(database: Database, key: str, patient_key: str, modality: str) -> None:
    """A study of one series of one instance; all studies bear the same UIDs."""
    with database.writing() as session:
        session.merge(Patient(patient_key=patient_key))
        session.flush()
        session.add(Study(study_key=key, study_instance_uid=STUDY, patient_key=patient_key))
        session.flush()
        uids = {"study_instance_uid": STUDY, "series_instance_uid": SERIES}
        session.add(Series(series_key=f"{key}-series", study_key=key, modality=modality, **uids))
        session.flush()
        keys = {"instance_key": f"{key}-instance", "series_key": f"{key}-series"}
        session.add(Instance(**keys, sop_instance_uid=SOP, series_instance_uid=SERIES, source=key))


def find_all(database: Database) -> set[str]:
    """The study that each look-up finds by the UIDs."""
    with database.reading() as session:
        study, series, instance = find_study(session, STUDY), find_series(session, SERIES), find_instance(session, SOP)
        assert study is not None
        assert series is not None
        assert instance is not None
        selected = session.scalar(select(Study.study_key).where(Study.study_key == select_study_key(STUDY)))
        of_instance = select(Instance.source).where(Instance.instance_key == select_instance_key(SOP))
        return {study.study_key, series.study_key, instance.source, str(selected), str(session.scalar(of_instance))}


def test_a_study_with_images_is_meant_rather_than_one_with_reports_alone(database: Database) -> None:
    add_study(database, "a", "P1", "SR")
    add_study(database, "b", "study:1.2", "CT")
    assert find_all(database) == {"b"}


def test_a_study_with_a_patient_id_is_meant_rather_than_one_without(database: Database) -> None:
    add_study(database, "a", "study:1.2", "CT")
    add_study(database, "b", "P1", "MR")
    assert find_all(database) == {"b"}


def test_among_equals_the_answer_is_always_the_same(database: Database) -> None:
    add_study(database, "b", "P1", "CT")
    add_study(database, "a", "P2", "CT")
    assert find_all(database) == {"a"}
    with database.reading() as session:
        assert [study.study_key for study in find_studies(session, STUDY)] == ["a", "b"]


def test_what_nobody_bears_is_not_found(database: Database) -> None:
    with database.reading() as session:
        assert find_study(session, STUDY) is None
        assert find_series(session, SERIES) is None
        assert find_instance(session, SOP) is None
        assert find_studies(session, STUDY) == []
