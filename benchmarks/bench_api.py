"""The front door's speed: look-ups over 10^6 images against a bare Flask route; label filter; files; frames.

    .venv/bin/python -m benchmarks.bench_api [--images 1000000] [--databases sqlite postgresql]
        [--parts look-ups labels files frames] [--seconds S]

What is compared is measured in turns in one run: look-ups and the bare route on the same server (gunicorn,
gthread, one process), files beside a plain nginx, frames beside Orthanc itself. Ratios are what counts.
"""

import argparse
import gzip
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert

from api import create_app
from api.auth import accounts
from benchmarks.lib.file_load import measure_files, measure_frames
from benchmarks.lib.http_load import measure_in_turns, serve_app
from minipacs.catalogue import Instance, Patient, Rendering, RowCount, Series, Study
from minipacs.settings import Settings
from postgres import new_url

HELLO = """
from flask import Flask
app = Flask("hello")
@app.get("/hello")
def hello():
    return {"hello": "world"}
"""
IMAGES_A_SERIES = 200


def fill_catalogue(database: object, images: int) -> None:
    """Fill the catalogue with patients of one study of one series of 200 images each, in batches."""
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
            insert(Study),
            [
                {"study_key": f"study {n}", "study_instance_uid": f"1.2.{n}", "patient_key": f"P{n}"}
                for n in range(series)
            ],
        )
        connection.execute(
            insert(Series),
            [
                {
                    **{"series_key": f"series {n}", "study_key": f"study {n}", "modality": "CT"},
                    **{"series_instance_uid": f"1.2.{n}.1", "study_instance_uid": f"1.2.{n}"},
                }
                for n in range(series)
            ],
        )
        for start in range(0, series, 500):
            rows = [
                {
                    "instance_key": f"{n}-{i}",
                    "series_key": f"series {n}",
                    "sop_instance_uid": f"1.2.{n}.1.{i}",
                    "series_instance_uid": f"1.2.{n}.1",
                    "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
                    "instance_number": i,
                    "rows": 512,
                    "columns": 512,
                    "source": f"archive:{n}-{i}",
                }
                for n in range(start, min(start + 500, series))
                for i in range(IMAGES_A_SERIES)
            ]
            connection.execute(insert(Instance), rows)
        connection.execute(insert(Rendering), [rendering_row(n) for n in range(series)])
        totals = {"patient": series, "study": series, "series": series, "instance": images}
        connection.execute(insert(RowCount), [{"name": k, "number": v} for k, v in totals.items()])


def rendering_row(n: int) -> dict[str, object]:
    """A row of the first image of the n-th series."""
    return {
        **{"rendering_id": f"picture-{n}", "sop_instance_uid": f"1.2.{n}.1.0", "frame_number": 1, "split": "train"},
        "instance_key": f"{n}-0",
        **{"png_path": f"{n}.png", "sha256": "0", "bytes": 1, "bit_depth": 8, "rows": 512, "columns": 512, "rules": 1},
        **{"window_center": 40.0, "window_width": 400.0, "window_source": "header"},
    }


def measure_look_ups(settings: Settings, token: str, folder: Path, seconds: float, images: int) -> None:
    """Print the table of routes, each in turns with the bare route."""
    series = images // IMAGES_A_SERIES
    routes: dict[str, Callable[[int], str]] = {
        "/images/count": lambda _n: "/images/count",
        "/patients/<id>/counts": lambda n: f"/patients/P{n * 7919 % series}/counts",
        "/patients/<id>": lambda n: f"/patients/P{n * 7919 % series}",
        "/series/<uid>": lambda n: f"/series/1.2.{n * 7919 % series}.1",
        "/images/<uid>": lambda n: f"/images/1.2.{n * 7919 % series}.1.{n % IMAGES_A_SERIES}",
        "/imageinfo/<name>": lambda n: f"/imageinfo/picture-{n * 7919 % series}",
        "/studies/<uid>": lambda n: f"/studies/1.2.{n * 7919 % series}",
    }
    (folder / "hello_app.py").write_text(HELLO)
    (folder / "front_door_app.py").write_text(
        "from api import create_app\nfrom minipacs.settings import Settings\napp = create_app(Settings.from_env())\n"
    )
    token_header = {"Authorization": f"Bearer {token}"}
    with (
        serve_app(folder, "hello_app:app", {}) as hello,
        serve_app(folder, "front_door_app:app", settings.as_environment()) as front_door,
    ):
        print(f"{'route':<24}{'clients':>8}{'per s':>9}{'p95 ms':>9}{'hello':>9}{'of hello':>10}")
        for clients in (1, 4):
            for name, path in routes.items():
                ours, bare = measure_in_turns(
                    seconds, clients, (front_door, path, token_header), (hello, lambda _n: "/hello", {})
                )
                print(
                    f"{name:<24}{clients:>8}{ours.rate:>9.0f}{ours.p95_ms:>9.2f}{bare.rate:>9.0f}"
                    f"{ours.rate / bare.rate:>10.0%}",
                    flush=True,
                )


def measure_label_filter() -> None:
    """A 512 × 512 × 200 label map: the older way (load, isin, save) against ours, cold and repeated."""
    import nibabel as nib
    import numpy as np

    from api.results import label_filter

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
        cache = label_filter.FilteredLabelMapCache()
        began = time.perf_counter()
        ours = cache.get(path, (1, 5, 9))
        cold = time.perf_counter() - began
        began = time.perf_counter()
        cache.get(path, (1, 5, 9))
        warm = time.perf_counter() - began
        theirs = nib.load(Path(folder, "older.nii.gz")).get_fdata()  # type: ignore[attr-defined]
        mine = nib.Nifti1Image.from_bytes(gzip.decompress(ours)).get_fdata()
        same = bool((np.rint(theirs) == mine).all())
        print(f"label filter 512×512×200: older {older:.2f} s · ours {cold:.2f} s = {older / cold:.1f}× · ", end="")
        print(f"again {warm * 1e6:.0f} µs = {older / warm:.0f}× · same voxels: {same}")


def measure_catalogue(kind: str, seconds: float, images: int) -> None:
    """Fill a database of this kind, then measure the look-ups in it."""
    with tempfile.TemporaryDirectory() as home:
        values = {"MINIPACS_HOME": home, "MINIPACS_DATABASE_URL": new_url(kind, Path(home))}
        settings = Settings.from_env(values)
        state = create_app(settings).extensions["minipacs"]
        fill_catalogue(state.database, images)
        token = accounts.create_token(state.database, "benchmark", "viewer")
        if kind == "postgresql":
            with state.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("ANALYZE")
        state.close()
        print(f"\n{kind}, {images} images")
        measure_look_ups(settings, token, Path(home), seconds, images)


def main() -> None:
    """Print the table of each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--parts", nargs="+", default=["labels", "files", "frames", "look-ups"])
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    if "labels" in arguments.parts:
        measure_label_filter()
    if "files" in arguments.parts:
        measure_files(arguments.seconds)
    if "frames" in arguments.parts:
        measure_frames(arguments.seconds)
    for kind in arguments.databases if "look-ups" in arguments.parts else ():
        measure_catalogue(kind, arguments.seconds, arguments.images)


if __name__ == "__main__":
    main()
