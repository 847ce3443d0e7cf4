"""What grows with the catalogue, and how fast, on SQLite and on PostgreSQL.

    .venv/bin/python -m benchmarks.bench_scale [--sizes 10000 100000 1000000] [--url URL …] [--figures FILE]

The catalogue is filled with synthetic rows (benchmarks/lib/catalogue_rows.py) to each size, and queried there as
the product queries it; the rate is that of transactions of 1000 instances and their renderings through SQLAlchemy.
Growth is the exponent of a median between the smallest and the largest size: 0 does not grow, 1 grows as the
archive does. PostgreSQL writes durably (fsync), SQLite as the product sets it. Without --url both are made for
the run and thrown away; with it, a database that is there is filled further. The tables sum up all runs in FILE
(JSON lines).
"""

import argparse
import json
import math
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from benchmarks.lib.catalogue_rows import (
    PER_PATIENT,
    TABLES,
    bulk_load,
    insert_rows,
    patient_key,
    patient_rows,
    uid,
    without_indexes,
)
from chaos.cluster import running_postgres
from minipacs.catalogue import Instance, Patient, RowCount, Study, read_catalogue_counts, read_patient_counts
from minipacs.catalogue.lookup import find_instance
from minipacs.database import Database

QUERY_REPEATS = 200
SCAN_REPEATS = 5
"""Of the query that reads the whole table."""

TIMED_PATIENTS = 10
"""Inserted on the clock."""

PATIENTS_PER_TRANSACTION = 50
"""While the database is filled."""

NAME_SHARE = 99991
Figures = dict[str, Any]


def main() -> None:
    """Fill each database and time its queries; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**4, 10**5, 10**6], metavar="INSTANCES")
    parser.add_argument("--url", nargs="+", help="databases to fill")
    parser.add_argument("--figures", type=Path)
    arguments = parser.parse_args()
    random.seed(1)
    with ExitStack() as stack:
        figures = arguments.figures or Path(stack.enter_context(tempfile.TemporaryDirectory()), "figures.jsonl")
        for url in arguments.url or temporary_databases(stack):
            for measured in measure_database(url, arguments.sizes):
                print(measured, file=sys.stderr, flush=True)
                with figures.open("a") as stream:
                    stream.write(json.dumps(measured) + "\n")
        lines = [json.loads(line) for line in figures.read_text().splitlines()]
        for name in dict.fromkeys(line["database"] for line in lines):
            print(format_table(name, [line for line in lines if line["database"] == name]), flush=True)


def temporary_databases(stack: ExitStack) -> Iterator[str]:
    """A SQLite file, then a PostgreSQL, each gone before the next comes."""
    folder = Path(tempfile.mkdtemp(prefix="minipacs-scale-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    yield f"sqlite:///{folder}/catalogue.sqlite"
    shutil.rmtree(folder)
    yield stack.enter_context(running_postgres()).url


def measure_database(url: str, sizes: list[int]) -> Iterator[Figures]:
    """Fill a database to each size; yields the figures there."""
    database = Database(url)
    database.upgrade_schema()
    with database.writing() as session:
        for one in TABLES:
            zero = database.build_insert(RowCount).values(name=one.__tablename__, number=0)
            session.execute(zero.on_conflict_do_nothing())
    for wanted in sizes:
        patients = fill_database(database, wanted // PER_PATIENT)
        rate = PER_PATIENT / time_insert(database, patients)
        patients += TIMED_PATIENTS
        yield {
            "database": "PostgreSQL" if database.is_postgresql else "SQLite",
            "instances": patients * PER_PATIENT,
            "inserted/s": rate,
            "GB": disk_bytes(database) / 1e9,
            **time_queries(database, patients),
        }
    database.close()


def fill_database(database: Database, wanted: int) -> int:
    """Fill until there are so many patients, less those that are to be inserted on the clock; how many there are.

    PostgreSQL builds its indexes after the first filling.
    """
    with database.reading() as session:
        patients = session.get_one(RowCount, Patient.__tablename__).number
    with without_indexes(database) if database.is_postgresql and not patients else nullcontext():
        for first in range(patients, wanted - TIMED_PATIENTS, PATIENTS_PER_TRANSACTION):
            patients = min(first + PATIENTS_PER_TRANSACTION, wanted - TIMED_PATIENTS)
            bulk_load(database, range(first, patients))
    if database.is_postgresql:  # as autovacuum does, sooner or later
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    return patients


def time_insert(database: Database, first: int) -> float:
    """Seconds that one more patient takes, the median; making the rows does not count."""
    took = []
    for rows in [patient_rows(patient) for patient in range(first, first + TIMED_PATIENTS)]:
        began = time.perf_counter()
        insert_rows(database, rows)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def catalogue_queries(patients: int) -> dict[str, Callable[[Session], Any]]:
    """The queries of the product, each about another patient every time."""

    def some() -> int:
        return random.randrange(patients)

    def series() -> Any:
        return select(Instance).where(Instance.series_instance_uid == uid(some(), 1, 2))

    newest = select(Study).order_by(Study.study_date.desc(), Study.study_instance_uid).limit(25)
    named = select(Study.study_instance_uid).join(Patient, Patient.patient_key == Study.patient_key)
    return {
        "global counts": read_catalogue_counts,
        "counts of a patient": lambda session: read_patient_counts(session, patient_key(some())),
        "instance by UID": lambda session: find_instance(session, uid(some(), 1, 2, 3)),
        "125 instances of a series": lambda session: session.scalars(series()).all(),
        "25 newest studies": lambda session: session.scalars(newest).all(),
        "studies by part of a name": lambda session: session.execute(
            named.where(Patient.patient_name.like(f"%amily{some() * 7919 % NAME_SHARE}^%"))
        ).all(),
        "(a count that scans)": lambda session: session.scalar(select(func.count()).select_from(Instance)),
    }


def time_queries(database: Database, patients: int) -> Figures:
    """Median and 95th percentile of each query, in ms."""
    figures = {}
    for name, query in catalogue_queries(patients).items():
        took: list[float] = []
        for _ in range(SCAN_REPEATS if "scans" in name else QUERY_REPEATS):
            with database.reading() as session:
                session.execute(text("SELECT 1"))
                began = time.perf_counter()
                query(session)
                took.append(1e3 * (time.perf_counter() - began))
        figures[name] = (statistics.median(took), statistics.quantiles(took, n=20, method="inclusive")[-1])
    return figures


def disk_bytes(database: Database) -> float:
    """Bytes of a database on disk."""
    if database.is_postgresql:
        with database.reading() as session:
            return float(session.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    file = Path(database.url.removeprefix("sqlite:///"))
    return float(sum(path.stat().st_size for path in file.parent.glob(file.name + "*")))


def format_table(name: str, lines: list[Figures]) -> str:
    """A column for each size, and the exponents."""
    lines = sorted(lines, key=lambda line: line["instances"])
    span = math.log(lines[-1]["instances"] / lines[0]["instances"])
    rows = [f"| {name} | " + " | ".join(f"{line['instances']:,}" for line in lines) + " | exponent |"]
    rows.append("|---|" + "---:|" * (len(lines) + 1))
    for title in list(lines[0])[2:]:
        values = [line[title] for line in lines]
        pairs = [value if isinstance(value, list) else [value] for value in values]
        growth = math.log(pairs[-1][0] / pairs[0][0]) / span if span else 0.0
        unit = ", ms: median (p95)" if len(pairs[0]) > 1 else ""
        rows.append(f"| {title}{unit} | {' | '.join(map(format_values, pairs))} | {growth:+.2f} |")
    return "\n".join([*rows, ""])


def format_values(values: list[float]) -> str:
    """One figure, or a median and the percentile in brackets."""
    first, *more = (f"{value:,.0f}" if value >= 100 else f"{value:.2g}" for value in values)
    return f"{first} ({more[0]})" if more else first


if __name__ == "__main__":
    main()
