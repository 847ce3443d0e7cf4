"""Images a second into the catalogue: a plain reference, ours with one and two workers, and the floor.

    .venv/bin/python -m benchmarks.bench_etl [FOLDER] [--images N] [--rounds R] [--count ROWS] [--headers N …]

All variants run in turn over the same files in the same run; the median of the rounds counts. Reference: as
the older notebook does it, pydicom → float → Pillow's default PNG → one row a commit. Floor: read and
decode by pydicom, look-up in a ready table, the fastest lossless PNG encoder found, a file written; no
catalogue at all. CPU time is less disturbed by what else runs on the machine.
"""

import argparse
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import UID
from sqlalchemy import insert

from benchmarks import ROOT
from dicom_objects import as_file, nothing
from etl.catalogue_run import load_source_into_catalogue
from etl.extract import FolderSource
from etl.options import Options
from etl.rendering.png import encode_png
from minipacs.catalogue import CatalogueCounts, Instance, Patient, RowCount, Series, Study, read_catalogue_counts
from minipacs.database import Database

WINDOW = (40.0, 400.0)


def write_copies(folder: Path, number: int, at: Path) -> list[Path]:
    """Write `number` files with UIDs of their own, made of the images of a folder; their paths."""
    datasets = [pydicom.dcmread(path) for path in sorted(folder.iterdir()) if path.is_file()]
    paths = []
    for n in range(number):
        dataset = datasets[n % len(datasets)]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.4.{n + 1}")
        path = at / f"{n:06d}.dcm"
        dataset.save_as(path)
        paths.append(path)
    return paths


def run_reference(files: list[Path], out: Path) -> None:
    """pydicom → float → Pillow → one row a commit."""
    out.mkdir()
    connection = sqlite3.connect(out / "reference.sqlite")
    connection.execute("CREATE TABLE image (uid TEXT PRIMARY KEY, series TEXT, path TEXT, center REAL, width REAL)")
    for path in files:
        dataset = pydicom.dcmread(path)
        x = dataset.pixel_array.astype(float) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        c, w = WINDOW
        grey = np.clip((x - (c - w / 2)) / w * 255, 0, 255).astype(np.uint8)
        png = out / f"{path.stem}.png"
        Image.fromarray(grey).save(png)
        row = (str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID), str(png), c, w)
        connection.execute("INSERT INTO image VALUES (?, ?, ?, ?, ?)", row)
        connection.commit()
    connection.close()


def run_floor(files: list[Path], out: Path) -> None:
    """Read, decode, look up, encode, write: nothing else."""
    out.mkdir()
    table = (np.arange(65536) >> 4).astype(np.uint8)
    for path in files:
        words = pydicom.dcmread(path).pixel_array
        (out / f"{path.stem}.png").write_bytes(encode_png(np.take(table, words.view("u2"), mode="clip")))


def run_product(workers: int, again: bool = False) -> Callable[[list[Path], Path], None]:
    """A variant: the product, with this number of worker processes; `again`: over files it has already."""

    def run(files: list[Path], out: Path) -> None:
        database = Database(f"sqlite:///{out / 'catalogue.sqlite'}")
        database.upgrade_schema()
        tally = load_source_into_catalogue(
            FolderSource(files[0].parent), database, Options(target=out / "png"), workers=workers
        )
        database.close()
        if tally.unchanged != len(files) if again else tally.rendered != len(files):
            raise SystemExit(f"not every file was rendered: {tally}")

    return run


def compare_variants(folder: Path, number: int, rounds: int) -> None:
    """Run all variants over the same files, in turns; print the table."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary, "source")
        source.mkdir()
        files = write_copies(folder, number, source)
        variants = {
            "reference": run_reference,
            "floor": run_floor,
            "ours, 1 worker": run_product(1),
            "ours, 2 workers": run_product(2),
        }
        names = [*variants, "ours, unchanged"]
        seconds: dict[str, list[float]] = {name: [] for name in names}
        cpu_seconds: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name, variant in variants.items():
                out = Path(temporary, "out")
                time_variant(variant, files, out, seconds[name], cpu_seconds[name])
                if name == "ours, 1 worker":
                    again = "ours, unchanged"
                    time_variant(run_product(1, again=True), files, out, seconds[again], cpu_seconds[again])
                shutil.rmtree(out)
    wall = {name: statistics.median(times) for name, times in seconds.items()}
    cpu = {name: statistics.median(times) for name, times in cpu_seconds.items()}
    print(f"| {number} images of {folder.name} | images/s | × reference | % of floor | CPU ms an image | × reference |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, taken in wall.items():
        times, part = wall["reference"] / taken, wall["floor"] / taken
        own = f"{1e3 * cpu[name] / number:.2f} | {cpu['reference'] / cpu[name]:.1f}" if "2" not in name else "– | –"
        print(f"| {name} | {number / taken:.0f} | {times:.1f} | {100 * part:.0f} | {own} |")
    print(f"\nunchanged re-run: {wall['ours, 1 worker'] / wall['ours, unchanged']:.0f} × faster than the first run")


Variant = Callable[[list[Path], Path], None]


def time_variant(
    variant: Variant, files: list[Path], out: Path, seconds: list[float], cpu_seconds: list[float]
) -> None:
    """Run a variant once; append the seconds it took, and those of this process's CPU."""
    started, cpu_started = time.perf_counter(), time.process_time()
    variant(files, out)
    seconds.append(time.perf_counter() - started)
    cpu_seconds.append(time.process_time() - cpu_started)


def time_counts(rows: int) -> None:
    """Print the time of the global counts with this many instances in the catalogue, against a scan."""
    with tempfile.TemporaryDirectory() as temporary:
        database = Database(f"sqlite:///{temporary}/catalogue.sqlite")
        database.upgrade_schema()
        with database.writing() as session:
            session.execute(insert(Patient), [{"patient_key": "P"}])
            session.execute(insert(Study), [{"study_key": "1", "study_instance_uid": "1.1", "patient_key": "P"}])
            series = {"series_key": "2", "study_key": "1", "series_instance_uid": "1.1.1", "study_instance_uid": "1.1"}
            session.execute(insert(Series), [series])
            for start in range(0, rows, 10_000):
                session.connection().exec_driver_sql(
                    "INSERT INTO instance (instance_key, series_key, sop_instance_uid, series_instance_uid, source)"
                    " VALUES (?, '2', ?, ?, ?)",
                    [(str(n), f"1.1.1.{n}", "1.1.1", str(n)) for n in range(start, min(start + 10_000, rows))],
                )
            names = {"patient": 1, "study": 1, "series": 1, "instance": rows}
            session.execute(insert(RowCount), [{"name": name, "number": number} for name, number in names.items()])
        with database.reading() as session:
            read_catalogue_counts(session)
            started = time.perf_counter()
            for _ in range(200):
                check_counts(read_catalogue_counts(session), rows)
                session.expire_all()
            kept = (time.perf_counter() - started) / 200
            started = time.perf_counter()
            session.query(Instance.sop_instance_uid).count()
            scanned = time.perf_counter() - started
        database.close()
    print(f"\n{rows} instances: counts kept {kept * 1e3:.2f} ms, scanned {scanned * 1e3:.0f} ms")


def check_counts(found: CatalogueCounts, rows: int) -> None:
    """The counts must be right before they may be fast."""
    if found != CatalogueCounts(1, 1, 1, rows):
        raise SystemExit(f"wrong counts: {found}")


def compare_memory(numbers: list[int]) -> None:
    """Print the peak memory of a run over this many headers, each in a process of its own."""
    peaks_kib = []
    for number in numbers:
        command = [sys.executable, "-m", "benchmarks.bench_etl", "--peak", str(number)]
        peaks_kib.append(int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout))
        print(f"{number} headers: peak {peaks_kib[-1] / 1024:.0f} MiB, {peaks_kib[-1] / peaks_kib[0]:.2f} × the first")


def print_peak_memory(number: int) -> None:
    """Catalogue `number` small objects and print the peak resident memory in KiB."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary, "source")
        source.mkdir()
        for n in range(1, number + 1):
            (source / f"{n:06d}").write_bytes(as_file(nothing(n)))
        database = Database(f"sqlite:///{temporary}/catalogue.sqlite")
        database.upgrade_schema()
        tally = load_source_into_catalogue(FolderSource(source), database, Options(target=Path(temporary, "png")))
        if tally.added != number:
            raise SystemExit(f"not every object was catalogued: {tally}")
        database.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    """Run what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", nargs="?", type=Path, help="folder of CT images of one size")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, metavar="ROWS", help="time the counts with this many instances")
    parser.add_argument("--headers", type=int, nargs="+", metavar="N", help="peak memory over this many headers")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        compare_variants(arguments.folder, arguments.images, arguments.rounds)
    if arguments.count:
        time_counts(arguments.count)
    if arguments.headers:
        compare_memory(arguments.headers)
    if arguments.peak:
        print_peak_memory(arguments.peak)


if __name__ == "__main__":
    main()
