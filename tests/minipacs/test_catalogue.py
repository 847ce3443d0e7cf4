"""The tables people open: DICOM's names and types, and counts that are kept."""

import datetime
from pathlib import Path

import pytest
from pydicom.datadict import keyword_dict
from sqlalchemy import JSON, Date, Double, Integer, String, Time, inspect
from sqlalchemy.exc import IntegrityError

from minipacs.catalogue import (
    CatalogueCounts,
    CatalogueCursorRow,
    Instance,
    Patient,
    Rejection,
    Rendering,
    RowCount,
    Segment,
    Series,
    Study,
    element,
    patient_key,
    read_catalogue_counts,
    read_patient_counts,
)
from minipacs.tables import Base
from postgres import new_database

TABLES = (Patient, Study, Series, Instance, Rendering, Segment, Rejection, CatalogueCursorRow, RowCount)


def test_the_tables_have_the_names_that_people_ask_for() -> None:
    names = [table.__tablename__ for table in TABLES]
    assert names == ["patient", "study", "series", "instance", "rendering", "segment", "rejection", "cursor", "total"]


@pytest.mark.parametrize("table", TABLES)
def test_a_column_has_its_keyword_in_snake_case(table: type[Base]) -> None:
    for column in table.__table__.columns:
        keyword = column.info.get("keyword")
        if keyword:
            assert keyword in keyword_dict
            assert column.name == column.name.lower()
            assert column.name.replace("_", "") == keyword.lower()


def test_a_column_takes_its_type_from_the_dictionary() -> None:
    columns = Instance.__table__.columns
    kinds = {name: type(columns[name].type) for name in ("rows", "content_date", "content_time", "slice_thickness")}
    assert kinds == {"rows": Integer, "content_date": Date, "content_time": Time, "slice_thickness": Double}
    assert type(columns["window_center"].type) is JSON
    assert type(columns["sop_class_uid"].type) is String
    assert type(Rendering.__table__.columns["window_center"].type) is Double


def test_a_keyword_that_is_none_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match=r"is not a keyword of PS3\.6"):
        element("WindowCentre")


def test_people_without_an_id_are_not_merged() -> None:
    assert patient_key(" P1 ", "1.2") == "P1"
    assert patient_key("", "1.2") == patient_key(None, "1.2") == patient_key("  ", "1.2") == "study:1.2"
    assert patient_key(None, "1.3") != patient_key(None, "1.2")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_dates_times_and_names_come_back_as_they_were(kind: str, tmp_path: Path) -> None:
    with new_database(kind, tmp_path) as database:
        born, at = datetime.date(1944, 2, 29), datetime.time(23, 59, 58, 500000)
        with database.writing() as session:
            session.add(Patient(patient_key="P", patient_name="山田^太郎=やまだ^たろう", patient_birth_date=born))
            session.flush()
            session.add(Study(study_key="key", study_instance_uid="1", patient_key="P", study_time=at))
        with database.reading() as session:
            patient, study = session.get_one(Patient, "P"), session.get_one(Study, "key")
            assert (patient.patient_name, patient.patient_birth_date) == ("山田^太郎=やまだ^たろう", born)
            assert study.study_time == at
            assert read_catalogue_counts(session) == CatalogueCounts()
            assert read_patient_counts(session, "P") == CatalogueCounts(1, 0, 0, 0)
            assert read_patient_counts(session, "nobody") is None


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_row_without_its_parent_is_refused(kind: str, tmp_path: Path) -> None:
    with new_database(kind, tmp_path) as database, pytest.raises(IntegrityError), database.writing() as session:
        session.add(Study(study_key="key", study_instance_uid="1", patient_key="nobody"))


def test_every_column_says_what_element_it_holds() -> None:
    comments = {column.comment for column in inspect(Instance).columns if column.comment}
    assert "00280010 Rows" in comments
