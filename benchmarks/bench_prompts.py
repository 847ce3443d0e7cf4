"""How good and how fast prompts are: our method, grabCut and random walker, on the same clicks, in one run.

    MINIPACS_TEST_DATA=FOLDER .venv/bin/python -m benchmarks.bench_prompts [--quick]

Targets: organs of TotalSegmentator's 20-slice CT (512 × 512), whose published mask is the reference; the
16 of the research note, and all of two slices. A simulated user draws a box 2 pixels around, clicks the
middle, then six times (random walker: once, it is slow) the middle of the largest error. Then a box and a
click in one slice, propagated. CPU: milliseconds of all threads, which other work on the machine prolongs less.
"""

import argparse
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import cv2
import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from scipy import ndimage

from minipacs.archive.client import Archive
from minipacs.archive.content import InstanceContent, SeriesContent
from minipacs.database import Database
from minipacs.formats.geometry import ras_to_lps, reverse_index_order
from minipacs.settings import Settings
from segmentation.engines.geodesic import plane_cut as ours
from segmentation.engines.geodesic import seeds as our_seeds
from segmentation.engines.geodesic.propagation import propagate_masks
from segmentation.prompter import Pixel, SlicePrompts
from segmentation.prompting.service import PromptService
from segmentation.series_volume import load_volume, read_images, stack_images

STUDY = "ct_totalseg_20slices"
SLICES = (4, 14)
MIN_TARGET_PIXELS = 150
PROPAGATED_ORGANS = (
    "aorta",
    "inferior_vena_cava",
    "liver",
    "spinal_cord",
    "spleen",
    "stomach",
    "vertebrae_T11",
    "vertebrae_T12",
)
Mask = NDArray[np.bool_]
Method = Callable[[NDArray[np.float32], SlicePrompts], Mask]


@dataclass
class MethodFigures:
    """Of one method: Dice by kind of prompt, milliseconds of every answer."""

    dice: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    @property
    def times(self) -> str:
        """Cells of a table: median, 95th percentile, and median of the CPU's."""
        return " | ".join(f"{n:.0f}" for n in (np.median(self.ms), np.percentile(self.ms, 95), np.median(self.cpu_ms)))

    @contextmanager
    def measure_time(self) -> Iterator[None]:
        """Time the block below."""
        began, cpu = time.perf_counter(), time.process_time()
        yield
        self.ms.append((time.perf_counter() - began) * 1e3)
        self.cpu_ms.append((time.process_time() - cpu) * 1e3)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="our method alone")
    quick = parser.parse_args().quick
    values, labels, names = load_study(Path(os.environ["MINIPACS_TEST_DATA"], STUDY))
    everything = find_targets(labels, names)
    measure_service(Path(os.environ["MINIPACS_TEST_DATA"], STUDY, "uids_filled"), everything)
    random.seed(1)
    note = random.sample(everything, 16)
    rivals: dict[str, Method] = {} if quick else {"grabCut": grab_cut, "random walker": random_walker}
    for title, chosen, others in (
        ("the note's 16 targets", note, rivals),
        (f"all {len(everything)} targets", everything, {}),
    ):
        print(f"\n| {title}: Dice | 1 click | 3 clicks | 6 clicks | box | box + 1 | ms median | ms p95 | CPU ms |")
        print("|---|" + "---:|" * 8)
        for name, method in {"geodesic (ours)": ours.segment_plane, **others}.items():
            figures = measure_method(method, values, chosen, 1 if method is random_walker else 6)
            kinds = " | ".join(
                f"{np.mean(figures.dice[k]):.3f}" if k in figures.dice else "–" for k in ("1", "3", "6", "box", "box+1")
            )
            print(f"| {name} | {kinds} | {figures.times} |", flush=True)
    measure_propagation(values, labels, names)


class FolderArchive:
    """Serves a folder of files in place of the archive."""

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.iterdir())

    def find_ids(self, level: str, uid: str) -> list[str]:
        """The one series there is."""
        return [uid]

    def read_series(self, series_id: str) -> tuple[str, SeriesContent]:
        """The series of all files, and its study."""
        headers = ((dcmread(file, stop_before_pixels=True), file) for file in self._files)
        instances = tuple(InstanceContent(str(header.SOPInstanceUID), str(file)) for header, file in headers)
        return "1.2", SeriesContent(series_id, series_id, "CT", "", "", instances)

    def read_file(self, instance_id: str) -> bytes:
        """The bytes of a file."""
        return Path(instance_id).read_bytes()


def measure_service(folder: Path, chosen: list[tuple[int, str, Mask]]) -> None:
    """Time the same prompts in the service: patient coordinates in, runs of pixels out."""
    with TemporaryDirectory() as home:
        settings = Settings(home=Path(home)).complete()
        service = PromptService(settings, cast(Archive, FolderArchive(folder)), Database(settings.database_url))
        service.preload()
        loaded = service.volumes.get("1.2.3")
        measured: dict[str, MethodFigures] = defaultdict(MethodFigures)
        for z, _, truth in chosen:
            top, left, bottom, right = box_around(truth)
            (row, column), _ = next_click(truth, np.zeros_like(truth))

            def at(r: int, c: int, z: int = z) -> list[float]:
                return [float(v) for v in (loaded.slices.affine @ (z, r, c, 1))[:3]]

            box, point = {"box": [at(top, left), at(bottom, right)]}, {"point": at(row, column)}
            for kind, prompts in (("box", [box]), ("box + 1", [box, point]), ("1 click", [point])):
                with measured[kind].measure_time():
                    service.answer_prompts("ann", {"series": "1.2.3", "prompts": prompts})
    print("\n| a prompt on 512 × 512 in the service | ms median | ms p95 | CPU ms |")
    print("|---|---:|---:|---:|")
    everything = MethodFigures()
    for figures in measured.values():
        everything.ms += figures.ms
        everything.cpu_ms += figures.cpu_ms
    for kind, figures in {**measured, "all": everything}.items():
        print(f"| {kind} | {figures.times} |", flush=True)


def load_study(folder: Path) -> tuple[NDArray[np.int16], NDArray[np.uint8], dict[int, str]]:
    """Load HU and the reference's labels, both (slices, rows, columns) from the feet to the head; names of labels."""
    slices = stack_images(read_images(sorted((folder / "uids_filled").iterdir())))
    volume = load_volume(slices)
    image = nibabel.nifti1.load(folder / "example_seg_dicom.nii.gz")
    to_lps = reverse_index_order(ras_to_lps(image.affine))
    labels = np.asarray(image.dataobj).transpose(2, 1, 0)
    for axis, wanted in enumerate(np.diag(slices.affine[[2, 1, 0]][:, :3])):
        if to_lps[2 - axis, axis] * wanted < 0:
            labels = np.flip(labels, axis)
    table = json.loads((folder / "labels_total_v2.json").read_text())
    return volume.array, np.ascontiguousarray(labels), {int(k): str(v) for k, v in table.items()}


def find_targets(labels: NDArray[np.uint8], names: dict[int, str]) -> list[tuple[int, str, Mask]]:
    """Slice, name, and the largest part, of every organ in each of the slices."""
    found = []
    for z in SLICES:
        for label in np.unique(labels[z]):
            if label and "rib" not in names[int(label)]:
                parts, _ = ndimage.label(labels[z] == label)
                sizes = np.bincount(parts.ravel())
                sizes[0] = 0
                mask = parts == sizes.argmax()
                if mask.sum() >= MIN_TARGET_PIXELS:
                    found.append((z, names[int(label)], mask))
    return found


def measure_method(
    method: Method, values: NDArray[np.int16], chosen: list[tuple[int, str, Mask]], clicks: int = 6
) -> MethodFigures:
    """Give a method every target with every kind of prompt."""
    figures = MethodFigures()
    for z, _, truth in chosen:
        levels = values[z].astype(np.float32)

        def answer(kind: str, prompts: SlicePrompts, levels: NDArray[np.float32] = levels, truth: Mask = truth) -> Mask:
            with figures.measure_time():
                mask = method(levels, prompts)
            figures.dice[kind].append(dice(mask, truth))
            return mask

        box, (first, _) = box_around(truth), next_click(truth, np.zeros_like(truth))
        answer("box", SlicePrompts(boxes=(box,)))
        answer("box+1", SlicePrompts(boxes=(box,), positive=(first,)))
        positive: list[Pixel] = [first]
        negative: list[Pixel] = []
        for number in range(1, clicks + 1):
            mask = answer(str(number), SlicePrompts(positive=tuple(positive), negative=tuple(negative)))
            pixel, missing = next_click(truth & ~mask, mask & ~truth)
            (positive if missing else negative).append(pixel)
    return figures


def measure_propagation(values: NDArray[np.int16], labels: NDArray[np.uint8], names: dict[int, str]) -> None:
    """Print how a box and a click in the slice where an organ is largest propagate through all 20."""
    print("\n| propagated from one slice | Dice of that slice | Dice of all | slices, reference | ours | s |")
    print("|---|" + "---:|" * 5)
    everything = []
    for label, name in names.items():
        truth = labels == label
        if name not in PROPAGATED_ORGANS or truth.sum() < 2000:
            continue
        z = int(truth.sum((1, 2)).argmax())
        click, _ = next_click(truth[z], np.zeros_like(truth[z]))
        prompts = SlicePrompts(boxes=(box_around(truth[z]),), positive=(click,))
        began = time.perf_counter()
        key = ours.segment_plane(values[z].astype(np.float32), prompts)
        masks = propagate_masks({z: key}, lambda k: values[k].astype(np.float32), {}, (0, len(values) - 1))
        seconds = time.perf_counter() - began
        mask_of_all = np.zeros_like(truth)
        for k, mask in masks.items():
            mask_of_all[k] = mask
        everything.append(dice(mask_of_all, truth))
        slices_with_organ = int(truth.any((1, 2)).sum())
        here, everywhere = dice(key, truth[z]), everything[-1]
        counts = f"{slices_with_organ} | {len(masks)}"
        print(f"| {name} | {here:.3f} | {everywhere:.3f} | {counts} | {seconds:.2f} |")
    print(f"| mean | | {np.mean(everything):.3f} | | | |")


def dice(one: Mask, other: Mask) -> float:
    """The Dice coefficient of two masks: 1 where they are equal, 0 where they do not touch."""
    return 2 * float((one & other).sum()) / max(1, int(one.sum() + other.sum()))


def box_around(mask: Mask) -> tuple[int, int, int, int]:
    """The box of a mask with two pixels around it: top, left, bottom, right."""
    rows, columns = np.nonzero(mask)
    return (
        max(0, int(rows.min()) - 2),
        max(0, int(columns.min()) - 2),
        min(mask.shape[0] - 1, int(rows.max()) + 2),
        min(mask.shape[1] - 1, int(columns.max()) + 2),
    )


def next_click(missing: Mask, too_much: Mask) -> tuple[Pixel, bool]:
    """The pixel deepest inside the largest error, and whether it is missing."""
    depths = []
    for error in (missing, too_much):
        padded = np.pad(error.astype(np.uint8), 1)
        depths.append(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1])
    positive = bool(depths[0].max() >= depths[1].max())
    deepest = np.unravel_index(int(depths[0 if positive else 1].argmax()), missing.shape)
    return (int(deepest[0]), int(deepest[1])), positive


# -- the others, with our region and seeds ----------------------------------------------------------
def seed_region(levels: NDArray[np.float32], prompts: SlicePrompts) -> tuple[tuple[slice, slice], Mask, Mask]:
    """The region around the prompts, sure pixels of the segment, sure pixels of the rest."""
    box = prompts.boxes[0] if prompts.boxes else None
    window = our_seeds.choose_region(levels.shape, prompts.positive, box)
    values = levels[window]
    inside = our_seeds.mark_discs(values.shape, prompts.positive, window)
    if box is not None and not prompts.positive:
        inside = our_seeds.mark_box_core(values.shape, window, box)
    outside = our_seeds.mark_discs(values.shape, prompts.negative, window) & ~inside
    outside |= our_seeds.mark_background(values.shape, window, box)
    return window, inside & ~outside, outside


def random_walker(levels: NDArray[np.float32], prompts: SlicePrompts) -> Mask:
    """scikit-image's, soft-tissue window, beta 130, conjugate gradients."""
    from skimage.segmentation import random_walker as walk

    window, inside, outside = seed_region(levels, prompts)
    seeds = np.zeros(inside.shape, np.int32)
    seeds[outside], seeds[inside] = 2, 1
    grey = np.clip(cv2.GaussianBlur(levels[window], (0, 0), 0.7), -160, 240)
    return place_in_image(levels, window, walk(grey, seeds, beta=130, mode="cg_j", tol=1e-3) == 1, inside)


def grab_cut(levels: NDArray[np.float32], prompts: SlicePrompts) -> Mask:
    """OpenCV's, soft-tissue window, three scales as colours, three rounds; a box without a click by its rectangle."""
    window, inside, outside = seed_region(levels, prompts)
    if prompts.boxes and not prompts.positive:
        inside = ~outside  # every part within the box may stay
    grey = np.clip((levels[window] + 160) / 400 * 255, 0, 255).astype(np.uint8)
    picture = np.dstack([grey, cv2.GaussianBlur(grey, (0, 0), 1.5), cv2.GaussianBlur(grey, (0, 0), 3)])
    marks: NDArray[np.uint8] = np.full(grey.shape, cv2.GC_PR_FGD if prompts.boxes else cv2.GC_PR_BGD, np.uint8)
    if not prompts.boxes:
        near = np.abs(cv2.GaussianBlur(levels[window], (0, 0), 1) - np.median(levels[window][inside])) < 30
        marks[near] = cv2.GC_PR_FGD
    marks[outside] = cv2.GC_BGD
    if prompts.positive:
        marks[inside] = cv2.GC_FGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, marks, (0, 0, 0, 0), *models, 3, cv2.GC_INIT_WITH_MASK)
    return place_in_image(levels, window, (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD), inside)


def place_in_image(levels: NDArray[np.float32], window: tuple[slice, slice], mask: Mask, inside: Mask) -> Mask:
    """Put the region's mask into the image, finished as ours is."""
    whole = np.zeros(levels.shape, np.bool_)
    whole[window] = ours._clean_mask(mask, inside)
    return whole


if __name__ == "__main__":
    main()
