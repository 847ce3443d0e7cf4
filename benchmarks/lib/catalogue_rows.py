"""Synthetic rows for benchmarks/bench_scale.py: a patient has 2 studies, a study 4 series, a series 125 CT slices.

Patients come in no order of their keys or UIDs, as from many scanners, so that every index is written and read
all over. `insert_rows` writes as the product does; `bulk_load` is the fastest way a database has, for filling up.
"""

import hashlib
import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import Table, insert, make_url, text

from minipacs.archive.identifiers import compute_instance_key, compute_series_key, compute_study_key
from minipacs.catalogue import Instance, Patient, Rendering, Series, Study
from minipacs.database import Database
from minipacs.tables import Base

PER_SERIES = 125
SERIES = 4
STUDIES = 2
PER_STUDY = PER_SERIES * SERIES
PER_PATIENT = PER_STUDY * STUDIES
TABLES: tuple[type[Base], ...] = (Patient, Study, Series, Instance, Rendering)
SPREAD, SPACE = 61_803_399, 10**8
"""Patient n has number n × SPREAD mod SPACE: each number once, far from the one before."""
Rows = dict[type[Base], list[dict[str, Any]]]


def patient_key(patient: int) -> str:
    """PatientID of the n-th patient."""
    return f"P{patient * SPREAD % SPACE:08d}"


def uid(patient: int, *numbers: int) -> str:
    """As long as UIDs of scanners are."""
    spread = 10**9 + patient * SPREAD % SPACE
    return f"1.2.826.0.1.3680043.10.1338.7.{spread}" + "".join([f".{10**9 + n}" for n in numbers])


def patient_rows(patient: int) -> Rows:
    """The rows of the n-th patient, by table."""
    key = patient_key(patient)
    rows: Rows = {table: [] for table in TABLES}
    of_patient = {"studies": STUDIES, "series": STUDIES * SERIES, "instances": PER_PATIENT}
    name = f"Family{patient * 7919 % 99991}^Given"
    rows[Patient].append(
        {"patient_key": key, "patient_id": key, "patient_name": name, **_counts("patient", of_patient)}
    )
    day = date(2000, 1, 1) + timedelta(days=patient * 37 % 9000)
    for s in range(STUDIES):
        study_key = compute_study_key(key, uid(patient, s))
        study = {"study_key": study_key, "study_instance_uid": uid(patient, s), "patient_key": key}
        study["accession_number"] = f"A{patient}{s}"
        of_study = _counts("study", {"series": SERIES, "instances": PER_STUDY})
        rows[Study].append({**study, "study_date": day, "study_description": "CHEST CT", **of_study})
        for r in range(SERIES):
            keys = {"series_key": compute_series_key(key, uid(patient, s), uid(patient, s, r)), "study_key": study_key}
            series = {**keys, "series_instance_uid": uid(patient, s, r), "study_instance_uid": uid(patient, s)}
            of_series = _counts("series", {"instances": PER_SERIES})
            rows[Series].append({**series, "modality": "CT", "series_number": r, **of_series})
            for i in range(PER_SERIES):
                own = uid(patient, s, r, i)
                instance_key = compute_instance_key(key, uid(patient, s), uid(patient, s, r), own)
                above = {"instance_key": instance_key, "series_key": keys["series_key"]}
                rows[Instance].append({**above, **_instance(uid(patient, s, r), i, own, instance_key)})
                ids = {"rendering_id": _rendering_id(own), "instance_key": instance_key, "sop_instance_uid": own}
                rows[Rendering].append({**_rendering(), **ids})
    return rows


def _rendering_id(sop_instance_uid: str) -> str:
    """An ID as random as the product's, which are UUIDv5."""
    return str(uuid.UUID(hashlib.md5(sop_instance_uid.encode()).hexdigest()))


def _counts(level: str, numbers: dict[str, int]) -> dict[str, int]:
    return {f"number_of_{level}_related_{name}": number for name, number in numbers.items()}


def _instance(series: str, number: int, own: str, instance_key: str) -> dict[str, Any]:
    """The row of a CT slice."""
    return {
        **{"sop_instance_uid": own, "series_instance_uid": series, "source": f"archive:{instance_key}"},
        **{"instance_number": number, "image_position_patient": [-180.0, -180.0, number * 1.25]},
        **{"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "transfer_syntax_uid": "1.2.840.10008.1.2.1"},
        **{"rows": 512, "columns": 512, "bits_stored": 12, "bits_allocated": 16, "samples_per_pixel": 1},
        **{"image_type": ["ORIGINAL", "PRIMARY", "AXIAL"], "pixel_spacing": [0.703125, 0.703125]},
        **{"image_orientation_patient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], "rendered_with": ["0123456789abcdef"]},
        **{"window_center": [40.0], "window_width": [400.0], "rescale_slope": 1.0, "rescale_intercept": -1024.0},
        **{"slice_thickness": 1.25, "content_checksum": 0x12345678},
    }


@cache
def _rendering() -> dict[str, Any]:
    """The row of its picture, without its own IDs."""
    return {
        **{"frame_number": 1, "split": "train", "png_path": f"/output/png/train/CT/01/{'0' * 36}.png"},
        **{"sha256": "0" * 64, "bytes": 90_000, "bit_depth": 8, "rows": 512, "columns": 512, "rules": 1},
        **{"window_center": 40.0, "window_width": 400.0, "window_source": "header", "window_number": 1},
        **{"modality_lut": False, "inverted": False, "pixel_aspect": 1.0},
    }


def insert_rows(database: Database, rows: Rows) -> None:
    """Write rows in one transaction through SQLAlchemy, with the totals, as the loader does."""
    with database.writing() as session:
        for table, values in rows.items():
            session.execute(insert(table), values)
            added = {"n": len(values), "name": table.__tablename__}
            session.execute(text("UPDATE total SET number = number + :n WHERE name = :name"), added)


@contextmanager
def without_indexes(database: Database) -> Iterator[None]:
    """Drop keys and indexes of PostgreSQL's empty tables, and build them at the end: the fast way to fill them."""
    tables = [one.__tablename__ for one in TABLES]
    with database.writing() as session:
        keys = session.execute(
            text(
                "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE"
                " :tables && ARRAY[conrelid::regclass::text, confrelid::regclass::text] ORDER BY contype = 'f'"
            ),
            {"tables": tables},
        ).all()
        for table, name, _ in reversed(keys):
            session.execute(text(f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"'))
        indexes = session.execute(
            text("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(:tables)"), {"tables": tables}
        ).all()
        for name, _ in indexes:
            session.execute(text(f'DROP INDEX "{name}"'))
    yield
    with database.writing() as session:
        for statement in [f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" {what}' for table, name, what in keys]:
            session.execute(text(statement))
        for _, statement in indexes:
            session.execute(text(statement))


def bulk_load(database: Database, patients: Iterable[int]) -> None:
    """Write the rows of these patients in one transaction: COPY, or executemany; foreign keys are not looked at."""
    rows: dict[type[Base], list[list[Any]]] = {table: [] for table in TABLES}
    names: dict[type[Base], list[str]] = {}
    for patient in patients:
        for table, values in patient_rows(patient).items():
            names[table] = list(values[0])
            rows[table] += [list(map(_plain, row.values())) for row in values]
    if database.is_postgresql:
        _copy(database, names, rows)
    else:
        _execute_many(database, names, rows)


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return _json(tuple(value))
    return value.isoformat() if kind is date else value


@cache
def _json(values: tuple[Any, ...]) -> str:
    return json.dumps(values)


def _copy(database: Database, names: dict[type[Base], list[str]], rows: dict[type[Base], list[list[Any]]]) -> None:
    connection = database.engine.raw_connection()
    try:
        cursor = cast(Any, connection.cursor())
        cursor.execute("SET session_replication_role = replica")
        for table, values in rows.items():
            columns = ", ".join(f'"{name}"' for name in names[table])
            with cursor.copy(f'COPY "{table.__tablename__}" ({columns}) FROM STDIN') as copy:
                for row in values:
                    copy.write_row(row)
            cursor.execute("UPDATE total SET number = number + %s WHERE name = %s", (len(values), table.__tablename__))
        cursor.execute("SET session_replication_role = origin")
        connection.commit()
    finally:
        connection.close()


def _execute_many(
    database: Database, names: dict[type[Base], list[str]], rows: dict[type[Base], list[list[Any]]]
) -> None:
    connection = sqlite3.connect(str(make_url(database.url).database), isolation_level=None)
    try:
        connection.execute("PRAGMA cache_size=-1000000")  # KB, negated
        connection.execute("BEGIN IMMEDIATE")
        for table, values in rows.items():
            columns, marks = ", ".join(f'"{name}"' for name in names[table]), ", ".join("?" for _ in names[table])
            connection.executemany(f'INSERT INTO "{table.__tablename__}" ({columns}) VALUES ({marks})', values)
            added = (len(values), cast(Table, table.__table__).name)
            connection.execute("UPDATE total SET number = number + ? WHERE name = ?", added)
        connection.execute("COMMIT")
    finally:
        connection.close()
