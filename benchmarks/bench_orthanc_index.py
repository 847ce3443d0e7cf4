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

from benchmarks.bench_scale import size
from chaos.cluster import postgres
from dicom_objects import as_file, image
from minipacs.archive import local_orthanc
from minipacs.archive.client import Archive
from minipacs.database import Database
from minipacs.errors import ArchiveError
from stack import settings_for
from waiting import until

ASKED, AT_ONCE, PER_STUDY, BATCH = 200, 4, 100, 1000
SERIES, STUDY, SPARE = 500_000_000, 600_000_000, 999_999_990
"""Where the numbers of series, studies and the template's own marks begin."""


def main() -> None:
    """Both, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 20_000, 50_000], metavar="INSTANCES")
    arguments = parser.parse_args()
    random.seed(1)
    print("| Orthanc's index | instances | stored/s | look-up, p95 ms | a study, p95 ms | bytes an instance |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="minipacs-scale-") as folder:
        storage = Path(folder, "sqlite", "orthanc", "storage")
        run("SQLite", arguments.sizes, Path(folder, "sqlite"), "", lambda: files_of(storage))
        with postgres() as server:
            own, theirs = database_for_index(server.url)
            run("PostgreSQL", arguments.sizes, Path(folder, "postgresql"), theirs, lambda: size(own))
            own.close()


def files_of(storage: Path) -> float:
    """Bytes of the SQLite index."""
    return float(sum(path.stat().st_size for path in storage.glob("index*")))


def database_for_index(server: str) -> tuple[Database, str]:
    """A new database, and its URL as Orthanc's setting has it."""
    database = Database(server)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE orthanc"))
    database.close()
    url = make_url(server).set(database="orthanc", password="unasked")
    own = Database(url.render_as_string(hide_password=False))
    return own, url.set(drivername="postgresql").render_as_string(hide_password=False)


def run(name: str, sizes: list[int], home: Path, url: str, measure: Callable[[], float]) -> None:
    """A line for each size."""
    done = 0
    with only_orthanc(home, url) as archive, ThreadPoolExecutor(AT_ONCE) as pool:
        for wanted in sizes:
            seconds = 0.0
            for start in range(done, wanted, BATCH):
                batch = list(instances(start, min(start + BATCH, wanted)))
                began = time.perf_counter()
                list(pool.map(archive.store, batch))
                seconds += time.perf_counter() - began
            rate, done = (wanted - done) / seconds, wanted
            looked, read = asked(archive, wanted)
            figures = f"{rate:,.0f} | {looked:.1f} | {read:.1f} | {measure() / wanted:,.0f}"
            print(f"| {name} | {wanted:,} | {figures} |", flush=True)


@contextmanager
def only_orthanc(home: Path, index: str) -> Iterator[Archive]:
    """Orthanc alone."""
    home.mkdir()
    settings = settings_for(home, orthanc_database_url=index)
    archive = Archive(settings)
    with (home / "log").open("w") as log:
        environment = {**os.environ, **settings.as_environment(), **local_orthanc.ENVIRONMENT}
        process = subprocess.Popen(local_orthanc.command(settings), env=environment, stdout=log, stderr=log)
    try:
        until(lambda: answers(archive) or process.poll() is not None, 60, what="Orthanc")
        yield archive
    finally:
        archive.close()
        process.terminate()
        process.wait(60)


def answers(archive: Archive) -> bool:
    """Whether it does."""
    try:
        return bool(archive.version())
    except ArchiveError:
        return False


def uid(number: int) -> str:
    """All of one length."""
    return f"1.2.826.0.1.3680043.10.1338.7.{10**9 + number}"


def instances(start: int, end: int) -> Iterator[bytes]:
    """Made by putting numbers into one file."""
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    marks = {"PatientID": "P00000000", **{keyword: uid(SPARE + n) for n, keyword in enumerate(keywords)}}
    template = as_file(image(np.arange(35, dtype=np.uint16).reshape(5, 7), **marks))
    patient, study, series, own = (value.encode() for value in marks.values())
    for number in range(start, end):
        of = number // PER_STUDY
        made = template.replace(own, uid(number).encode()).replace(series, uid(SERIES + of).encode())
        yield made.replace(study, uid(STUDY + of).encode()).replace(patient, b"P%08d" % of)


def asked(archive: Archive, there: int) -> tuple[float, float]:
    """95th percentiles in ms: an instance by UID, a study's content."""
    looked, read = [], []
    for _ in range(ASKED):
        number = random.randrange(there)
        began = time.perf_counter()
        archive.find("Instance", uid(number))
        middle = time.perf_counter()
        archive.study(archive.study_id(uid(STUDY + number // PER_STUDY)))
        looked.append(1e3 * (middle - began))
        read.append(1e3 * (time.perf_counter() - middle))
    return statistics.quantiles(looked, n=20)[-1], statistics.quantiles(read, n=20)[-1]


if __name__ == "__main__":
    main()
