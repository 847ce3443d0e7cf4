"""What grows with the archive, and how fast: the catalogue and Orthanc's index, on SQLite and on PostgreSQL.

    python benchmarks/scale.py [--catalogue 10000 100000 1000000] [--orthanc 5000 20000]

The catalogue is filled with synthetic rows (a patient has 2 studies, a study 4 series, a series 125 instances, an
instance one rendering) in transactions of 1000 instances, and asked at each size what the product asks. Growth is
the exponent of the 95th percentile between the smallest and the largest size: 0 does not grow, 1 grows as the
archive does. Orthanc is filled over HTTP with instances of 0.8 kB. PostgreSQL writes durably (fsync), SQLite as the
product sets it.
"""

import argparse
import json
import math
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, insert, select, text

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # before this folder, where some files bear names of packages

from chaos.cluster import Postgres, postgres
from dicom_objects import as_file, image
from minipacs import orthanc
from minipacs.archive import Archive
from minipacs.catalogue import Instance, Patient, Rendering, Series, Study, patient_counts, totals
from minipacs.database import Database
from minipacs.errors import ArchiveError
from minipacs.settings import Settings
from stack import settings_for, until

PER_SERIES, SERIES, STUDIES = 125, 4, 2
PER_STUDY = PER_SERIES * SERIES
PER_PATIENT = PER_STUDY * STUDIES
ASKED = 200
AT_ONCE = 4


def uid(*numbers: int) -> str:
    """As long as UIDs of scanners are."""
    return "1.2.826.0.1.3680043.10.1338.7." + ".".join(f"1{n:09d}" for n in numbers)


def rows(patient: int) -> dict[Any, list[dict[str, Any]]]:
    """Rows of one patient, by table."""
    key = f"P{patient:08d}"
    made: dict[Any, list[dict[str, Any]]] = {
        Patient: [
            {
                **{"patient_key": key, "patient_id": key, "patient_name": f"Family{patient * 7919 % 99991}^Given"},
                **{"number_of_patient_related_studies": STUDIES, "number_of_patient_related_series": STUDIES * SERIES},
                "number_of_patient_related_instances": PER_PATIENT,
            }
        ],
        **{table: [] for table in (Study, Series, Instance, Rendering)},
    }
    for s in range(STUDIES):
        study = uid(patient, s)
        made[Study].append(
            {
                **{"study_instance_uid": study, "patient_key": key, "accession_number": f"A{patient}{s}"},
                **{
                    "study_date": date(2000, 1, 1) + timedelta(days=patient * 37 % 9000),
                    "study_description": "CHEST CT",
                },
                **{"number_of_study_related_series": SERIES, "number_of_study_related_instances": PER_STUDY},
            }
        )
        for r in range(SERIES):
            series = uid(patient, s, r)
            made[Series].append(
                {
                    **{"series_instance_uid": series, "study_instance_uid": study, "modality": "CT"},
                    **{"series_number": r, "number_of_series_related_instances": PER_SERIES},
                }
            )
            for i in range(PER_SERIES):
                made[Instance].append(instance(series, i, uid(patient, s, r, i)))
                made[Rendering].append(rendering(uid(patient, s, r, i)))
    return made


def instance(series: str, number: int, own: str) -> dict[str, Any]:
    """As a CT slice fills it."""
    return {
        **{
            "sop_instance_uid": own,
            "series_instance_uid": series,
            "source": f"archive:{own[-40:]}",
            "instance_number": number,
        },
        **{"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "transfer_syntax_uid": "1.2.840.10008.1.2.1"},
        **{"rows": 512, "columns": 512, "bits_stored": 12, "bits_allocated": 16, "samples_per_pixel": 1},
        **{"image_type": ["ORIGINAL", "PRIMARY", "AXIAL"], "pixel_spacing": [0.703125, 0.703125]},
        **{"image_position_patient": [-180.0, -180.0, number * 1.25], "slice_thickness": 1.25},
        **{"image_orientation_patient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], "rendered_with": ["0123456789abcdef"]},
        **{"window_center": [40.0], "window_width": [400.0], "rescale_slope": 1.0, "rescale_intercept": -1024.0},
    }


def rendering(own: str) -> dict[str, Any]:
    """One picture of it; what the table asks for beside is made up by type."""
    made: dict[str, Any] = {}
    for column in Rendering.__table__.columns:
        if column.name == "sop_instance_uid":
            made[column.name] = own
        elif column.primary_key and column.autoincrement is True:
            continue
        elif not column.nullable and column.default is None:
            kind = column.type.python_type
            made[column.name] = f"{own}/{column.name}.png" if kind is str else kind(1)
    return made


def fill(database: Database, start: int, end: int) -> float:
    """Patients `start` to `end`, a transaction each; the seconds, without the making of the rows."""
    spent = 0.0
    for patient in range(start, end):
        made = rows(patient)
        began = time.perf_counter()
        with database.writing() as session:
            for table, values in made.items():
                session.execute(insert(table), values)
            session.execute(text("UPDATE total SET number = number + :n WHERE name = 'instance'"), {"n": PER_PATIENT})
        spent += time.perf_counter() - began
    return spent


def questions(patients: int) -> dict[str, Callable[[Any], Any]]:
    """What the product asks, each with a random subject."""

    def some() -> int:
        return random.randrange(patients)

    newest = select(Study).order_by(Study.study_date.desc(), Study.study_instance_uid).limit(25)
    return {
        "global counts": totals,
        "counts of a patient": lambda session: patient_counts(session, f"P{some():08d}"),
        "an instance by UID": lambda session: session.get(Instance, uid(some(), 1, 2, 3)),
        "instances of a series": lambda session: session.scalars(
            select(Instance).where(Instance.series_instance_uid == uid(some(), 1, 2))
        ).all(),
        "25 newest studies": lambda session: session.scalars(newest).all(),
        "studies of a name (LIKE)": lambda session: session.execute(
            select(Study.study_instance_uid).join(Patient).where(Patient.patient_name.like(f"%amily{some()}^%"))
        ).all(),
        "count by scanning": lambda session: session.scalar(select(func.count()).select_from(Instance)),
    }


def ask(database: Database, patients: int) -> dict[str, float]:
    """95th percentile of each question, in ms."""
    result: dict[str, float] = {}
    for name, question in questions(patients).items():
        took: list[float] = []
        for _ in range(5 if "scanning" in name else ASKED):
            with database.reading() as session:
                session.execute(text("SELECT 1"))
                began = time.perf_counter()
                question(session)
                took.append(1e3 * (time.perf_counter() - began))
        result[name] = statistics.quantiles(took, n=20)[-1]
    return result


def size(database: Database) -> float:
    """Bytes on disk."""
    if database.is_postgresql:
        with database.reading() as session:
            return float(session.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    file = Path(database.url.removeprefix("sqlite:///"))
    return float(sum(path.stat().st_size for path in file.parent.glob(file.name + "*")))


def catalogue(sizes: list[int], url: str) -> tuple[list[list[str]], list[str]]:
    """Lines of the table: one a size, and the exponents."""
    database = Database(url)
    database.create()
    with database.writing() as session:
        session.execute(text("DELETE FROM total"))
        session.execute(
            text("INSERT INTO total (name, number) VALUES ('instance', 0), ('patient', 0), ('study', 0), ('series', 0)")
        )
    lines, first, last, done = [], {}, {}, 0
    for wanted in sizes:
        patients = wanted // PER_PATIENT
        seconds = fill(database, done, patients)
        rate = (patients - done) * PER_PATIENT / seconds
        done = patients
        if database.is_postgresql:
            with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("ANALYZE"))
        asked = ask(database, patients)
        measured = {"inserted/s": rate, "bytes an instance": size(database) / wanted, **asked}
        first, last = first or measured, measured
        lines.append([f"{wanted}", *(f"{v:.3g}" for v in measured.values())])
        print(database.engine.dialect.name, wanted, {k: round(v, 3) for k, v in measured.items()}, flush=True)
    span = math.log(sizes[-1] / sizes[0]) if len(sizes) > 1 else 1.0
    exponents = [f"{math.log(last[name] / first[name]) / span:+.2f}" for name in last]
    database.close()
    return [list(last), *lines], exponents


def show(title: str, head: list[str], lines: list[list[str]]) -> None:
    """A table for docs/scaling.md."""
    print(f"\n| {title} | " + " | ".join(head) + " |")
    print("|---|" + "---:|" * len(head))
    for line in lines:
        print("| " + " | ".join(line) + " |")
    print(flush=True)


@contextmanager
def only_orthanc(home: Path, index: str) -> Iterator[tuple[Settings, Archive]]:
    """Orthanc alone, as the product starts it."""
    settings = settings_for(home, orthanc_database_url=index)
    archive = Archive(settings)
    with (home / "log").open("w") as log:
        process = subprocess.Popen(orthanc.command(settings), env=orthanc.ENVIRONMENT, stdout=log, stderr=log)
    try:
        until(lambda: answers(archive), 60, what="Orthanc")
        yield settings, archive
    finally:
        archive.close()
        process.terminate()
        process.wait(30)


def answers(archive: Archive) -> bool:
    """Whether it does."""
    try:
        return bool(archive.version())
    except ArchiveError:
        return False


def files(start: int, end: int) -> Iterator[bytes]:
    """Small instances, 100 a study, made by putting numbers into one file."""
    marks = {
        "PatientID": "P00000000",
        **{k: uid(999_999_990 + n) for n, k in enumerate(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))},
    }
    template = as_file(image(np.arange(35, dtype=np.uint16).reshape(5, 7), **marks))
    _, study, series, own = (value.encode() for value in marks.values())
    for number in range(start, end):
        made = template.replace(own, uid(number).encode()).replace(series, uid(500_000_000 + number // 100).encode())
        made = made.replace(study, uid(600_000_000 + number // 100).encode())
        yield made.replace(b"P00000000", b"P%08d" % (number // 100))


def index(name: str, sizes: list[int], home: Path, url: str, measure: Callable[[], float]) -> list[list[str]]:
    """Lines of the table: one a size."""
    lines, done = [], 0
    with only_orthanc(home, url) as (_, archive), ThreadPoolExecutor(AT_ONCE) as pool:
        for wanted in sizes:
            batch = list(files(done, wanted))
            began = time.perf_counter()
            list(pool.map(archive.store, batch))
            rate = len(batch) / (time.perf_counter() - began)
            done = wanted
            took: dict[str, list[float]] = {"look-up": [], "study": []}
            for _ in range(ASKED):
                n = random.randrange(wanted)
                began = time.perf_counter()
                archive.find("Instance", uid(n))
                middle = time.perf_counter()
                archive.study(archive.study_id(uid(600_000_000 + n // 100)))
                took["look-up"].append(1e3 * (middle - began))
                took["study"].append(1e3 * (time.perf_counter() - middle))
            p95 = {k: statistics.quantiles(v, n=20)[-1] for k, v in took.items()}
            line = [
                name,
                f"{wanted}",
                f"{rate:.0f}",
                f"{p95['look-up']:.1f}",
                f"{p95['study']:.1f}",
                f"{measure() / wanted:.0f}",
            ]
            print(line, flush=True)
            lines.append(line)
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--catalogue", type=int, nargs="*", default=[10**4, 10**5, 10**6], metavar="INSTANCES")
    parser.add_argument("--orthanc", type=int, nargs="*", default=[5_000, 20_000], metavar="INSTANCES")
    arguments = parser.parse_args()
    random.seed(1)
    folder = Path(tempfile.mkdtemp(prefix="minipacs-scale-"))
    try:
        with postgres() as server:
            if arguments.catalogue:
                for name, url in (("SQLite", f"sqlite:///{folder}/catalogue.sqlite"), ("PostgreSQL", server.url)):
                    (head, *lines), exponents = catalogue(arguments.catalogue, url)
                    show(f"{name}, instances", head, [*lines, ["exponent", *exponents]])
            if arguments.orthanc:
                compare_indexes(arguments.orthanc, folder, server)
    finally:
        shutil.rmtree(folder)


def compare_indexes(sizes: list[int], folder: Path, server: Postgres) -> None:
    """Orthanc's own SQLite against PostgreSQL, one after the other."""
    own = Database(server.url)
    with own.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE orthanc"))
    own.close()
    url = server.url.replace("+psycopg", "").replace("/postgres", "/orthanc")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    storage = folder / "a" / "orthanc" / "storage"
    theirs = Database(server.url.replace("/postgres", "/orthanc"))
    lines = [
        *index("SQLite", sizes, folder / "a", "", lambda: sum(p.stat().st_size for p in storage.glob("index*"))),
        *index("PostgreSQL", sizes, folder / "b", url, lambda: size(theirs)),
    ]
    theirs.close()
    show("Orthanc's index", ["instances", "stored/s", "look-up p95, ms", "study p95, ms", "bytes an instance"], lines)


if __name__ == "__main__":
    print(json.dumps({"per study": PER_STUDY, "per patient": PER_PATIENT}))
    main()
