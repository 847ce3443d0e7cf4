"""Rows leave one kind of database and enter the other unchanged."""

import json
from datetime import date, datetime, time
from pathlib import Path

import pytest
from sqlalchemy import select

from minipacs.backup.tables import Snapshot, insert_rows, reflect_tables
from minipacs.catalogue import Instance, Patient, Series, Study
from minipacs.database import Database
from minipacs.jobs.contract import Order
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import Job
from postgres import new_database

KINDS = [("sqlite", "postgresql"), ("postgresql", "sqlite"), ("sqlite", "sqlite"), ("postgresql", "postgresql")]


def fill(database: Database) -> None:
    with database.writing() as session:
        session.add(
            Patient(patient_key="P", patient_id="P", patient_name="Müller^日本", patient_birth_date=date(1970, 2, 3))
        )
        session.flush()
        session.add(
            Study(study_key="of study", study_instance_uid="1.2", patient_key="P", study_time=time(1, 2, 3, 400))
        )
        session.flush()
        session.add(
            Series(series_key="of series", study_key="of study", series_instance_uid="1.2.3", study_instance_uid="1.2")
        )
        session.flush()
        acquired = datetime(2020, 1, 2, 3, 4, 5, 6)
        session.add(
            Instance(
                **{"instance_key": "of instance", "series_key": "of series"},
                **{"sop_instance_uid": "1.2.3.4", "series_instance_uid": "1.2.3", "source": "s", "image_type": ["A"]},
                **{"pixel_spacing": [0.1, 1 / 3], "acquisition_date_time": acquired, "source_mtime_ns": 2**62},
            )
        )
        JobQueue(database).submit(session, order("first"))


def order(key: str) -> Order:
    return Order(key=key, kind="catalogue", study_instance_uid="1.2", args={"a": [1, None]})


@pytest.mark.parametrize(("kind", "other"), KINDS)
def test_rows_are_the_same_afterwards(kind: str, other: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with new_database(kind, tmp_path) as one, new_database(other, tmp_path / "other") as two:
        fill(one)
        with Snapshot(one) as snapshot, two.writing() as session:
            into = {table.name: table for table in reflect_tables(session.connection())}
            for table in snapshot.tables:
                lines = [json.loads(line) for line in snapshot.read_json_lines(table)]
                assert insert_rows(session.connection(), into[table.name], lines) == len(lines)
        for model in (Patient, Study, Series, Instance, Job):
            with one.reading() as before, two.reading() as after:
                columns = [c.key for c in model.__table__.columns]
                was, now = (
                    [[getattr(r, c) for c in columns] for r in s.scalars(select(model))] for s in (before, after)
                )
            assert was == now
            assert was
        with two.writing() as session:
            assert JobQueue(two).submit(session, order("second")), "new rows get numbers of their own"


def test_writers_do_not_change_what_a_snapshot_sees(tmp_path: Path) -> None:
    with new_database("postgresql", tmp_path) as database:
        fill(database)
        with Snapshot(database) as snapshot:
            table = next(t for t in snapshot.tables if t.name == "job")
            with database.writing() as session:
                JobQueue(database).submit(session, order("second"))
            assert len(list(snapshot.read_json_lines(table))) == 1
