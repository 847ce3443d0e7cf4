"""What it costs to see the studies of groups alone: each query as one who sees all, and as members of groups.

    .venv/bin/python -m benchmarks.bench_groups [--patients 2000] [--url URL …]

The catalogue is filled with synthetic rows (benchmarks/lib/catalogue_rows.py); a group has half of the studies, a
tenth, a hundredth. The same queries run in turn through the front door's own code, over HTTP requests within this
process, so that a machine's load is the same for all. Ratios are of medians, to one who sees all.
"""

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from api import create_app
from api.auth import accounts
from benchmarks.lib.catalogue_rows import STUDIES, TABLES, bulk_load, patient_key, uid
from chaos.cluster import running_postgres
from minipacs.catalogue import RowCount
from minipacs.database import Database
from minipacs.groups import membership
from minipacs.settings import Settings

SHARES = {"half": 2, "a tenth": 10, "a hundredth": 100}
"""Groups: one of so many patients is in it."""
REPEATS = 60
PATIENTS_PER_TRANSACTION = 50


def main() -> None:
    """Fill, ask, print a table for each database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--url", nargs="+", help="databases to fill")
    arguments = parser.parse_args()
    random.seed(1)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="minipacs-groups-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for number, url in enumerate(arguments.url or temporary_databases(stack, folder)):
            print(measure(url, folder / str(number), arguments.patients), flush=True)


def temporary_databases(stack: ExitStack, folder: Path) -> Iterator[str]:
    """A SQLite file, then a PostgreSQL."""
    yield f"sqlite:///{folder}/catalogue.sqlite"
    yield stack.enter_context(running_postgres()).url


def measure(url: str, home: Path, patients: int) -> str:
    """The table of one database."""
    values = {"DATABASE_URL": url, "HOME": str(home), "ORTHANC_URL": "http://127.0.0.1:9", "ADMIN_PASSWORD": "x" * 12}
    app = create_app(Settings.from_env({f"MINIPACS_{name}": value for name, value in values.items()}))
    database: Database = app.extensions["minipacs"].database
    fill(database, patients)
    tokens = {"all": make_token(database, "all", None), **{name: make_token(database, name, name) for name in SHARES}}
    if database.is_postgresql:
        analyze(database)
    return format_table(database, time_requests(app, tokens, patients))


def fill(database: Database, patients: int) -> None:
    """Rows, and groups that hold every second, tenth, hundredth patient."""
    with database.writing() as session:
        for one in TABLES:
            session.add(RowCount(name=one.__tablename__, number=0))
    for first in range(0, patients, PATIENTS_PER_TRANSACTION):
        bulk_load(database, range(first, min(first + PATIENTS_PER_TRANSACTION, patients)))
    for name, step in SHARES.items():
        membership.create_group(database, name)
        uids = [uid(patient, study) for patient in range(0, patients, step) for study in range(STUDIES)]
        membership.add_studies(database, name, uids, "benchmark")


def analyze(database: Database) -> None:
    """As autovacuum does, sooner or later."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def make_token(database: Database, name: str, group: str | None) -> dict[str, str]:
    """The headers of a token that sees all, or a group."""
    token = accounts.create_token(database, name, "viewer")
    if group is not None:
        member = accounts.make_token_member_name(name)
        accounts.set_sees_all(database, member, False)
        membership.add_members(database, group, [member])
    return {"Authorization": f"Bearer {token}"}


def make_addresses(patients: int) -> dict[str, Callable[[], str]]:
    """What is asked, each time of another patient that is in every group."""

    def some() -> int:
        return random.randrange(0, patients, max(SHARES.values()))

    return {
        "counts": lambda: "/",
        "counts of a patient": lambda: f"/patients/{patient_key(some())}/counts",
        "a study": lambda: f"/studies/{uid(some(), 1)}",
        "an instance": lambda: f"/images/{uid(some(), 1, 2, 3)}",
        "125 instances of a series": lambda: f"/series/{uid(some(), 1, 2)}/images?limit=125",
        "25 newest studies": lambda: "/studies?limit=25",
        "25 studies, QIDO-RS": lambda: "/dicom-web/studies?limit=25",
        "25 patients": lambda: "/patients?limit=25",
        "25 series": lambda: "/series?limit=25",
        "25 instances": lambda: "/images?limit=25",
        "studies of a patient": lambda: f"/patients/{patient_key(some())}/studies",
        "jobs": lambda: "/jobs?limit=25",
    }


def time_requests(app: Flask, tokens: dict[str, dict[str, str]], patients: int) -> dict[str, dict[str, float]]:
    """Median ms of each question by each token; the tokens take turns."""
    client = app.test_client()
    found: dict[str, dict[str, float]] = {}
    for title, make_address in make_addresses(patients).items():
        took: dict[str, list[float]] = {name: [] for name in tokens}
        for repeat in range(REPEATS + 1):
            address = make_address()
            for name, headers in tokens.items():
                seconds = time_one(client, address, headers)
                if repeat:  # the first opens connections and fills caches
                    took[name].append(1e3 * seconds)
        found[title] = {name: statistics.median(times) for name, times in took.items()}
    return found


def time_one(client: FlaskClient, address: str, headers: dict[str, str]) -> float:
    """Seconds of one request."""
    began = time.perf_counter()
    answer = client.get(address, headers=headers)
    answer.get_data()
    seconds = time.perf_counter() - began
    if answer.status_code != 200:
        raise AssertionError(f"{address}: {answer.status_code}")
    return seconds


def format_table(database: Database, found: dict[str, dict[str, float]]) -> str:
    """A row for each question: ms of one who sees all, and each group's ratio to it."""
    kind = "PostgreSQL" if database.is_postgresql else "SQLite"
    lines = [f"| {kind} | sees all, ms | " + " | ".join(SHARES) + " |", "|---|" + "---:|" * (len(SHARES) + 1)]
    for title, medians in found.items():
        ratios = [f"{medians[name] / medians['all']:.2f}" for name in SHARES]
        lines.append(f"| {title} | {medians['all']:.2g} | {' | '.join(ratios)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
