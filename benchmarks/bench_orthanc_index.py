"""Orthanc's index: its own SQLite against PostgreSQL, filled over HTTP with small instances.

    .venv/bin/python -m benchmarks.bench_orthanc_index [--sizes 5000 20000 50000]

Orthanc alone, as the product starts it; 4 clients; 100 instances of 0.8 kB a study; PostgreSQL with fsync. A look-up
asks for an instance by its UID; "a study" reads all UIDs of one, as the job service does for every stable study.
"""

import argparse
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sqlalchemy import make_url, text

from benchmarks.bench_scale import disk_bytes
from chaos.cluster import running_postgres
from dicom_objects import as_file, image
from minipacs.archive import local_orthanc
from minipacs.archive.client import Archive
from minipacs.database import Database
from minipacs.errors import ArchiveError
from stack import settings_for
from waiting import until

LOOK_UPS = 200
CLIENTS = 4
INSTANCES_PER_STUDY = 100
INSTANCES_PER_BATCH = 1000

FIRST_SERIES = 500_000_000
FIRST_STUDY = 600_000_000
FIRST_TEMPLATE_UID = 999_999_990
"""Where the numbers in UIDs begin: of series, of studies, and of the template that is replaced."""


def main() -> None:
    """Measure both indexes, one after the other; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 20_000, 50_000], metavar="INSTANCES")
    arguments = parser.parse_args()
    random.seed(1)
    print("| Orthanc's index | instances | stored/s | look-up, p95 ms | a study, p95 ms | bytes an instance |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="minipacs-scale-") as folder:
        storage = Path(folder, "sqlite", "orthanc", "storage")
        measure_index("SQLite", arguments.sizes, Path(folder, "sqlite"), "", lambda: index_bytes(storage))
        with running_postgres() as server:
            own, theirs = create_index_database(server.url)
            measure_index("PostgreSQL", arguments.sizes, Path(folder, "postgresql"), theirs, lambda: disk_bytes(own))
            own.close()


def index_bytes(storage: Path) -> float:
    """Bytes of the SQLite index on disk."""
    return float(sum(path.stat().st_size for path in storage.glob("index*")))


def create_index_database(server: str) -> tuple[Database, str]:
    """Create a database, and return it with its URL as Orthanc's setting has it."""
    database = Database(server)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE orthanc"))
    database.close()
    url = make_url(server).set(database="orthanc", password="unasked")
    own = Database(url.render_as_string(hide_password=False))
    return own, url.set(drivername="postgresql").render_as_string(hide_password=False)


def measure_index(name: str, sizes: list[int], home: Path, url: str, measure: Callable[[], float]) -> None:
    """Fill an index to each size; print a line for each."""
    done = 0
    with run_orthanc(home, url) as archive, ThreadPoolExecutor(CLIENTS) as pool:
        for wanted in sizes:
            seconds = 0.0
            for start in range(done, wanted, INSTANCES_PER_BATCH):
                batch = list(make_instances(start, min(start + INSTANCES_PER_BATCH, wanted)))
                began = time.perf_counter()
                list(pool.map(archive.store_file, batch))
                seconds += time.perf_counter() - began
            rate, done = (wanted - done) / seconds, wanted
            look_up_ms, study_ms = time_look_ups(archive, wanted)
            figures = f"{rate:,.0f} | {look_up_ms:.1f} | {study_ms:.1f} | {measure() / wanted:,.0f}"
            print(f"| {name} | {wanted:,} | {figures} |", flush=True)


@contextmanager
def run_orthanc(home: Path, index: str) -> Iterator[Archive]:
    """Run Orthanc alone; yields its archive."""
    home.mkdir()
    settings = settings_for(home, orthanc_database_url=index)
    archive = Archive(settings)
    with (home / "log").open("w") as log:
        environment = {**os.environ, **settings.as_environment(), **local_orthanc.ENVIRONMENT}
        process = subprocess.Popen(
            local_orthanc.prepare_start_command(settings), env=environment, stdout=log, stderr=log
        )
    try:
        until(lambda: is_answering(archive) or process.poll() is not None, 60, what="Orthanc")
        yield archive
    finally:
        archive.close()
        process.terminate()
        process.wait(60)


def is_answering(archive: Archive) -> bool:
    """Whether Orthanc answers."""
    try:
        return bool(archive.read_version())
    except ArchiveError:
        return False


def uid(number: int) -> str:
    """A UID; all have one length."""
    return f"1.2.826.0.1.3680043.10.1338.7.{10**9 + number}"


def make_instances(start: int, end: int) -> Iterator[bytes]:
    """Make instances by putting numbers into one file."""
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    marks = {"PatientID": "P00000000", **{keyword: uid(FIRST_TEMPLATE_UID + n) for n, keyword in enumerate(keywords)}}
    template = as_file(image(np.arange(35, dtype=np.uint16).reshape(5, 7), **marks))
    patient, study, series, own = (value.encode() for value in marks.values())
    for number in range(start, end):
        of = number // INSTANCES_PER_STUDY
        file = template.replace(own, uid(number).encode()).replace(series, uid(FIRST_SERIES + of).encode())
        yield file.replace(study, uid(FIRST_STUDY + of).encode()).replace(patient, b"P%08d" % of)


def time_look_ups(archive: Archive, instances: int) -> tuple[float, float]:
    """95th percentiles in ms: an instance by UID, a study's content."""
    look_ups_ms, studies_ms = [], []
    for _ in range(LOOK_UPS):
        number = random.randrange(instances)
        began = time.perf_counter()
        archive.find_ids("Instance", uid(number))
        middle = time.perf_counter()
        archive.read_study(archive.find_study_id(uid(FIRST_STUDY + number // INSTANCES_PER_STUDY)))
        look_ups_ms.append(1e3 * (middle - began))
        studies_ms.append(1e3 * (time.perf_counter() - middle))
    return statistics.quantiles(look_ups_ms, n=20)[-1], statistics.quantiles(studies_ms, n=20)[-1]


if __name__ == "__main__":
    main()
