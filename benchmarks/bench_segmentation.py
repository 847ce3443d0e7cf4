"""Segmentation of a 200×512×512 CT, DICOM in to every form out, and the plain way beside it, in one run.

    .venv/bin/python -m benchmarks.bench_segmentation [--folder FOLDER] [--slices N] [--engine NAME]
        [--type TYPE] [--no-plain] [--rounds N] [--many]

The plain way makes the same structures at full resolution with scipy's morphology, surfaces with
skimage's marching cubes, a BINARY SEG from a stack of masks, and a NIfTI by nibabel. `--many`: 104
segments on 458 slices written as SEG. Each part runs in a process of its own, whose peak memory is printed. With
several rounds, ours and the plain way alternate, and every figure is the median of its rounds.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmread
from pydicom.uid import generate_uid

from benchmarks import ROOT

SLICE_DISTANCE_MM = 1.0
"""Of the slices that are written."""


def main() -> None:
    """Write the series and run the parts on it; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="a CT series, resampled to N slices (default: the synthetic chest)")
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--engine", default="slicer")
    parser.add_argument("--type", default="LABELMAP", help="form of our SEG: BINARY or LABELMAP")
    parser.add_argument("--no-plain", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--many", action="store_true")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps({**PARTS[arguments.part](arguments), "peak_mb": peak_mb()}))
        return
    with tempfile.TemporaryDirectory(prefix="minipacs-bench-") as temporary:
        folder = Path(temporary, "series")
        write_series(folder, arguments.folder, arguments.slices)
        names = ["ours"] if arguments.no_plain else ["ours", "plain"]
        rounds = [[run_part(name, folder, arguments) for name in names] for _ in range(arguments.rounds)]
        print_table(*(median_of(of_part) for of_part in zip(*rounds, strict=True)))
        if not arguments.no_plain:
            print(
                "plain : warm, each round: "
                + ", ".join(f"{p['seconds'] / o['warm']['seconds']:.1f}" for o, p in rounds)
            )
        if arguments.many:
            for name in ("many-BINARY", "many-LABELMAP"):
                done = run_part(name, folder, arguments)
                print(f"{name}: {done['seconds']:.1f} s, {done['frames']} frames, peak {done['peak_mb']} MB")


def run_part(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one part in a process of its own; its numbers."""
    line = [
        sys.executable,
        "-m",
        "benchmarks.bench_segmentation",
        "--part",
        name,
        "--folder",
        str(folder),
        "--engine",
        arguments.engine,
    ]
    line += ["--type", arguments.type]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def median_of(rounds: Sequence[Any]) -> Any:
    """The median of each figure, however deep it lies; of what is no figure, the first."""
    first = rounds[0]
    if isinstance(first, dict):
        return {key: median_of([one[key] for one in rounds]) for key in first}
    return median(rounds) if isinstance(first, int | float) else first


def print_table(ours: dict[str, Any], plain: dict[str, Any] | None = None) -> None:
    """Print the stages side by side; ours overlap in two threads, so their sum is more than the whole."""
    cold, warm = ours["cold"], ours["warm"]
    print(f"| stage | ours, first | ours, warm |{' plain | ratio |' if plain else ''}")
    print("|---|---:|---:|" + ("---:|---:|" if plain else ""))
    for stage in [*warm["durations_s"], "whole"]:
        first, second = (r["seconds"] if stage == "whole" else r["durations_s"][stage] for r in (cold, warm))
        row = f"| {stage} | {first:.2f} | {second:.2f} |"
        if plain:
            other = plain["seconds"] if stage == "whole" else plain["durations_s"].get(stage)
            row += f" {other:.2f} | {other / second:.1f} |" if other else " – | – |"
        print(row)
    print(f"\npeak: ours {ours['peak_mb']:.0f} MB" + (f", plain {plain['peak_mb']:.0f} MB" if plain else ""))
    print(f"triangles: ours {ours['triangles']:.0f}" + (f", plain {plain['triangles']:.0f}" if plain else ""))
    print("files, kB: " + ", ".join(f"{k} {v // 1000:.0f}" for k, v in ours["files"].items()))


def peak_mb() -> int:
    """Peak resident memory of this process plus that of its largest child, as if both had been at once, in MB."""
    each = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(who).ru_maxrss for who in each) // 1024


def write_series(folder: Path, source: Path | None, slices: int) -> None:
    """Write a CT series of so many slices, 1 mm apart, 512×512."""
    import cv2

    folder.mkdir(parents=True)
    if source is None:
        from minipacs.local.phantom import write_chest_ct

        with tempfile.TemporaryDirectory() as temporary:
            return write_resampled_series(write_chest_ct(Path(temporary)), folder, slices, cv2)
    return write_resampled_series([f for f in source.rglob("*") if f.is_file()], folder, slices, cv2)


def write_resampled_series(files: list[Path], folder: Path, slices: int, cv2: Any) -> None:
    """Write slices that are interpolated linearly between those of the files."""
    images = sorted((dcmread(f) for f in files), key=lambda i: float(i.ImagePositionPatient[2]))
    series = generate_uid()
    step = (len(images) - 1) / (slices - 1)
    for k in range(slices):
        low, share = int(k * step), k * step % 1
        one, other = images[low].pixel_array, images[min(low + 1, len(images) - 1)].pixel_array
        plane = np.rint(one * (1 - share) + other * share).astype(one.dtype)
        plane = cv2.resize(plane, (512, 512), interpolation=cv2.INTER_LINEAR)
        image: Dataset = dcmread(files[0])
        for keyword in ("Manufacturer", "RescaleSlope", "RescaleIntercept"):
            setattr(image, keyword, images[low].get(keyword))
        image.decompress() if image.file_meta.TransferSyntaxUID.is_compressed else None
        image.Rows, image.Columns, image.PixelData = 512, 512, plane.tobytes()
        width = float(images[0].PixelSpacing[1]) * images[0].Columns / 512
        x, y, z = images[0].ImagePositionPatient
        image.PixelSpacing, image.SliceThickness = [width, width], SLICE_DISTANCE_MM
        image.ImagePositionPatient = [x, y, float(z) + k * SLICE_DISTANCE_MM]
        image.SeriesInstanceUID, image.SOPInstanceUID = series, generate_uid()
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.save_as(folder / f"{k:04d}.dcm")


# -- ours -------------------------------------------------------------------------------------------
def run_ours(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the pipeline of the product twice: with and without loading libraries."""
    from minipacs.settings import Settings
    from segmentation import registry
    from segmentation.job.pipeline import segment_files

    engine = registry.create_engine(arguments.engine, Settings().complete())
    files = sorted(arguments.folder.iterdir())
    with tempfile.TemporaryDirectory() as out:
        began = perf_counter()
        runs = [segment_files(files, "d", engine, Path(out), options={"type": arguments.type}) for _ in range(2)]
        sizes = {f.name: f.stat().st_size for f in sorted(Path(out).iterdir())}
        glb = Path(out, "model.glb").read_bytes()
    document = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    triangles = sum(a["count"] // 3 for a in document["accessors"] if a["type"] == "SCALAR")
    runs[0]["seconds"] = min(runs[0]["seconds"], perf_counter() - began)
    return {"cold": runs[0], "warm": runs[1], "files": sizes, "triangles": triangles}


# -- the plain way ----------------------------------------------------------------------------------
class Stopwatch:
    """Measures the seconds of stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what stands below."""
        began = perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - began


def run_plain(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the same structures the way people usually do."""
    import highdicom as hd
    import nibabel as nib
    import SimpleITK
    from skimage.measure import marching_cubes

    watch, out, began = Stopwatch(), Path(tempfile.mkdtemp()), perf_counter()
    with watch.stage("read"):
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(arguments.folder)))
        image = reader.Execute()
        values = SimpleITK.GetArrayFromImage(image)
        headers = [dcmread(f, stop_before_pixels=True) for f in reader.GetFileNames()]
    with watch.stage("segment"):
        masks = segment_plainly(values)
    spacing = image.GetSpacing()[::-1]
    triangles = 0
    with watch.stage("surfaces"):
        for name in ("body", "right lung", "left lung", "bone"):
            triangles += len(marching_cubes(masks[name], 0.5, spacing=spacing)[1])
    with watch.stage("SEG"):
        tissue = hd.sr.CodedConcept("85756007", "SCT", "Tissue")
        descriptions = [hd.seg.SegmentDescription(n, name, tissue, tissue, "MANUAL") for n, name in enumerate(masks, 1)]
        seg = hd.seg.Segmentation(
            headers, np.stack(list(masks.values()), -1), "BINARY", descriptions, hd.UID(), 1, hd.UID(), 1,
            "m", "m", "1", "1",
        )  # fmt: skip
        seg.save_as(out / "seg.dcm")
    with watch.stage("NIfTI"):
        labels = np.zeros(values.shape, np.uint8)
        for n, mask in enumerate(masks.values(), 1):
            labels[mask] = n
        nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), np.eye(4)), out / "labels.nii.gz")
    with watch.stage("seg.nrrd"):
        again = SimpleITK.GetImageFromArray(labels)
        again.CopyInformation(image)
        SimpleITK.WriteImage(again, str(out / "labels.nrrd"), useCompression=True)
    return {"durations_s": watch.seconds, "seconds": perf_counter() - began, "triangles": triangles}


def segment_plainly(values: NDArray[np.int16]) -> dict[str, NDArray[np.bool_]]:
    """Segment body, lungs, bone and fat at full resolution, with scipy."""
    from scipy import ndimage

    def largest(mask: NDArray[np.bool_], count: int = 1) -> list[NDArray[np.bool_]]:
        labels, _ = ndimage.label(mask)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        return [labels == n for n in np.argsort(sizes)[::-1][:count]]

    body = ndimage.binary_opening(values > -250, iterations=3)
    body = ndimage.binary_fill_holes(largest(body)[0])
    air = ndimage.binary_opening(body & (values < -500), iterations=2)
    right, left = [*largest(air, 2), np.zeros_like(air)][:2]
    right, left = (ndimage.binary_closing(lung, iterations=7) for lung in (right, left))
    bone = ndimage.binary_closing(body & (values > 180), iterations=4)
    lean = ndimage.binary_closing(body & (values > -29) & (values < 150), iterations=7)
    inner = ndimage.binary_fill_holes(largest(lean)[0])
    fat = body & (values > -190) & (values < -30)
    return {
        "body": body,
        "right lung": right,
        "left lung": left,
        "bone": bone,
        "subcutaneous fat": fat & ~inner,
        "torso fat": fat & inner,
        "lean soft tissue": lean & ~bone,
    }


# -- many segments ----------------------------------------------------------------------------------
def encode_many_segments(kind: str) -> dict[str, Any]:
    """Encode 104 ellipsoids on 458 slices as SEG: a published complaint was 8 minutes for 98 segments."""
    import highdicom as hd

    from segmentation.identity import Identity
    from segmentation.labelmap import Labelmap, Segment
    from segmentation.results.dicom_seg import encode_seg
    from segmentation.series_volume import stack_images
    from segmentation.vocabulary import codes

    shape = (458, 512, 512)
    with tempfile.TemporaryDirectory() as temporary:
        series = Path(temporary, "series")
        write_series(series, None, 16)
        first = dcmread(min(series.iterdir()))
        images = []
        for k in range(shape[0]):
            image = Dataset()
            image.update({e.tag: DataElement(e.tag, e.VR, e.value) for e in first if e.keyword != "PixelData"})
            image.ImagePositionPatient = [*first.ImagePositionPatient[:2], float(k)]
            image.SOPInstanceUID = f"1.2.3.{k + 1}"
            images.append(image)
        slices = stack_images(images)
        labels = np.zeros(shape, np.uint8)
        rows, columns = np.ogrid[: shape[1], : shape[2]]
        for n in range(104):
            angle, z = 2 * np.pi * (n % 13) / 13, 28 + 57 * (n // 13)
            y, x = 256 + 180 * np.sin(angle), 256 + 180 * np.cos(angle)
            for k in range(max(0, z - 33), min(shape[0], z + 34)):
                disc = ((rows - y) / 40) ** 2 + ((columns - x) / 44) ** 2 < 1 - ((k - z) / 34) ** 2
                labels[k][disc] = n + 1
        segments = tuple(
            Segment(f"Structure {n}", codes.ANATOMICAL_STRUCTURE, codes.BONE, color=(2 * n, 200, 100))
            for n in range(1, 105)
        )
        labelmap = Labelmap(labels, hd.VolumeGeometry(slices.affine, shape, "PATIENT"), segments)
        began = perf_counter()
        seg = encode_seg(labelmap, slices, Identity("1.2.3", "d", "many", "1", "-"), kind)
        seg.save_as(Path(temporary, "seg.dcm"))
        return {"seconds": perf_counter() - began, "frames": int(seg.NumberOfFrames)}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "ours": run_ours,
    "plain": run_plain,
    "many-BINARY": lambda _: encode_many_segments("BINARY"),
    "many-LABELMAP": lambda _: encode_many_segments("LABELMAP"),
}

if __name__ == "__main__":
    main()
