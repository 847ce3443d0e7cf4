"""The front door's speed: look-ups over 10^6 images against a bare Flask route; label filter; files.

    python -m benchmarks.api [--images 1000000] [--database postgresql+psycopg://…] [--seconds 3]

Everything is measured in one run on one server (gunicorn, gthread, one process), side by side. Ratios
are what counts. (As a file it would hide the package `api`: hence `-m`.)
"""

import argparse
import gzip
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import insert

from api import accounts, create_app
from minipacs.catalogue import Instance, Patient, Series, Study, Total
from minipacs.settings import Settings

HELLO = """
from flask import Flask
app = Flask("hello")
@app.get("/hello")
def hello():
    return {"hello": "world"}
"""
IMAGES_A_SERIES = 200


def fill(database: object, images: int) -> None:
    """Patients with one study of one series of 200 images each, in batches."""
    series = images // IMAGES_A_SERIES
    with database.engine.begin() as connection:  # type: ignore[attr-defined]
        counts = dict.fromkeys(("number_of_patient_related_studies", "number_of_patient_related_series"), 1)
        patients = [
            {"patient_key": f"P{n}", "patient_id": f"P{n}", "number_of_patient_related_instances": IMAGES_A_SERIES}
            | counts
            for n in range(series)
        ]
        connection.execute(insert(Patient), patients)
        connection.execute(
            insert(Study), [{"study_instance_uid": f"1.2.{n}", "patient_key": f"P{n}"} for n in range(series)]
        )
        connection.execute(
            insert(Series),
            [
                {"series_instance_uid": f"1.2.{n}.1", "study_instance_uid": f"1.2.{n}", "modality": "CT"}
                for n in range(series)
            ],
        )
        for start in range(0, series, 500):
            rows = [
                {
                    "sop_instance_uid": f"1.2.{n}.1.{i}",
                    "series_instance_uid": f"1.2.{n}.1",
                    "instance_number": i,
                    "rows": 512,
                    "columns": 512,
                    "source": f"archive:{n}-{i}",
                }
                for n in range(start, min(start + 500, series))
                for i in range(IMAGES_A_SERIES)
            ]
            connection.execute(insert(Instance), rows)
        totals = {"patient": series, "study": series, "series": series, "instance": images}
        connection.execute(insert(Total), [{"name": k, "number": v} for k, v in totals.items()])


@contextmanager
def served(folder: Path, module: str, port: int, environment: dict[str, str]) -> Iterator[None]:
    """The application of this module, behind gunicorn as `minipacs api` starts it."""
    command = [sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "24", "-w", "1", "--log-level", "error"]
    command += ["-b", f"127.0.0.1:{port}", "--keep-alive", "30", module]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **environment, "PYTHONPATH": os.getcwd()})
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def rate(
    port: int, path: Callable[[int], str], headers: dict[str, str], seconds: float, clients: int
) -> tuple[float, float]:
    """(requests a second, p95 in ms) of kept connections."""
    times: list[float] = []

    def client(offset: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        n = offset
        while time.perf_counter() < end:
            began = time.perf_counter()
            connection.request("GET", path(n), headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status not in (200, 206):
                raise RuntimeError(f"{path(n)}: {answer.status}")
            times.append(time.perf_counter() - began)
            n += clients

    end = time.perf_counter() + seconds
    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(times) / seconds, statistics.quantiles(times, n=20)[-1] * 1000


def look_ups(settings: Settings, token: str, folder: Path, seconds: float, images: int) -> None:
    """The table of routes, each beside the bare route, in alternation."""
    series = images // IMAGES_A_SERIES
    routes: dict[str, Callable[[int], str]] = {
        "/images/count": lambda _n: "/images/count",
        "/patients/<id>/counts": lambda n: f"/patients/P{n * 7919 % series}/counts",
        "/patients/<id>": lambda n: f"/patients/P{n * 7919 % series}",
        "/series/<uid>": lambda n: f"/series/1.2.{n * 7919 % series}.1",
        "/images/<uid>": lambda n: f"/images/1.2.{n * 7919 % series}.1.{n % IMAGES_A_SERIES}",
    }
    (folder / "hello_app.py").write_text(HELLO)
    (folder / "door_app.py").write_text(
        "from api import create_app\nfrom minipacs.settings import Settings\napp = create_app(Settings.from_env())\n"
    )
    headers = {"Authorization": f"Bearer {token}"}
    with served(folder, "hello_app:app", 18991, {}), served(folder, "door_app:app", 18992, settings.as_environment()):
        rate(18991, lambda _n: "/hello", {}, 0.5, 1)
        rate(18992, routes["/images/count"], headers, 0.5, 1)
        print(f"{'route':<24}{'clients':>8}{'per s':>9}{'p95 ms':>9}{'of hello':>10}")
        for clients in (1, 4):
            for name, path in routes.items():
                hello, _ = rate(18991, lambda _n: "/hello", {}, seconds / 2, clients)
                ours, p95 = rate(18992, path, headers, seconds, clients)
                again, _ = rate(18991, lambda _n: "/hello", {}, seconds / 2, clients)
                print(f"{name:<24}{clients:>8}{ours:>9.0f}{p95:>9.2f}{ours / ((hello + again) / 2):>9.0%}")


def label_filter() -> None:
    """A 512 × 512 × 200 label map: the older way (load, isin, save) against ours, cold and repeated."""
    import nibabel as nib
    import numpy as np

    from api import labels

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "labels.nii.gz")
        z, y, x = np.ogrid[:200, :512, :512]
        array = ((x // 40 + y // 50 + z // 30) % 25).astype(np.uint8).T
        nib.save(nib.Nifti1Image(array, np.diag([0.7, 0.7, 1.5, 1])), path)
        began = time.perf_counter()
        image = nib.load(path)
        data = image.get_fdata()  # type: ignore[attr-defined]
        kept = np.where(np.isin(data, (1, 5, 9)), data, 0)
        nib.save(nib.Nifti1Image(kept, image.affine, image.header), Path(folder, "older.nii.gz"))  # type: ignore[attr-defined]
        older = time.perf_counter() - began
        memory = labels.Kept()
        began = time.perf_counter()
        ours = memory.filtered(path, (1, 5, 9))
        cold = time.perf_counter() - began
        began = time.perf_counter()
        memory.filtered(path, (1, 5, 9))
        warm = time.perf_counter() - began
        theirs = nib.load(Path(folder, "older.nii.gz")).get_fdata()  # type: ignore[attr-defined]
        mine = nib.Nifti1Image.from_bytes(gzip.decompress(ours)).get_fdata()
        same = bool((np.rint(theirs) == mine).all())
        print(f"label filter 512×512×200: older {older:.2f} s · ours {cold:.2f} s = {older / cold:.1f}× · ", end="")
        print(f"again {warm * 1e6:.0f} µs = {older / warm:.0f}× · same voxels: {same}")


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--database", default="")
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    label_filter()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.from_env({"MINIPACS_HOME": home, "MINIPACS_DATABASE_URL": arguments.database})
        state = create_app(settings).extensions["minipacs"]
        fill(state.database, arguments.images)
        token = accounts.create_token(state.database, "benchmark", "viewer")
        state.close()
        look_ups(settings, token, Path(home), arguments.seconds, arguments.images)


if __name__ == "__main__":
    main()
