"""How well the embedded engine agrees with published references, and what it reports that is not there.

    MINIPACS_TEST_DATA=FOLDER .venv/bin/python -m benchmarks.bench_accuracy [--overlays FOLDER] [--example FOLDER]

References: TotalSegmentator's published masks (classes joined to ours) of its 20-slice example and, with
`--example`, of its 3 mm example, whose files lie in its source tree below `tests/reference_files`. For the
other studies there is no reference mask: the table says which structures are reported.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import highdicom
import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minipacs.formats.geometry import ras_to_lps
from minipacs.settings import Settings
from segmentation.engines.ct_mr.engine import create
from segmentation.labelmap import Labelmap
from segmentation.series_volume import load_volume, read_images, read_volume_and_modality, stack_images

BONES = (
    "vertebrae",
    "rib_",
    "sternum",
    "scapula",
    "clavicula",
    "humerus",
    "hip_",
    "sacrum",
    "femur",
    "skull",
)
STUDIES = {
    "ct_chest_lungdx_A0001": {"lung", "airways", "bone"},
    "ct_totalseg_20slices/uids_filled": {"bone"},
    "petctmr_sts_001/CT": {"bone"},
    "mr_t1_brain_studyforrest": {"outline"},
}
"""Studies, and which of lung, airways, bone, outline are truly in them."""

TISSUES = {
    "Subcutaneous fat": "subcutaneous_fat.nii.gz",
    "Torso fat": "torso_fat.nii.gz",
}
MIN_DICE = {"Right lung (aerated)": 0.95, "Left lung (aerated)": 0.95, "Subcutaneous fat": 0.88}


def main() -> None:
    """Segment every study, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overlays", type=Path, help="write pictures to look at")
    parser.add_argument("--example", type=Path, help="TotalSegmentator's tests/reference_files")
    arguments = parser.parse_args()
    root = Path(os.environ["MINIPACS_TEST_DATA"])
    print("| study | slices × rows × columns | reported, mL | not there, yet reported | there, not reported |")
    print("|---|---|---|---|---|")
    segmented: dict[str, tuple[highdicom.Volume, Labelmap]] = {}
    for name, kinds in STUDIES.items():
        volume, modality = read_series(root / name)
        labelmap = create(Settings()).segment(volume, modality=modality)
        segmented[name] = volume, labelmap
        print(study_row(name, volume, labelmap, kinds))
        if arguments.overlays:
            draw_overlay(volume, labelmap, arguments.overlays / (name.replace("/", "_") + ".png"))
    print("\n| structure | reference | Dice | floor |\n|---|---|---:|---:|")
    volume, labelmap = segmented["ct_totalseg_20slices/uids_filled"]
    names = {int(k): v for k, v in json.loads((root / "ct_totalseg_20slices/labels_total_v2.json").read_text()).items()}
    total = read_mask_on_grid(root / "ct_totalseg_20slices/example_seg_dicom.nii.gz", volume)
    rows = [
        (*row, "20 slices of 2 mm, contrast") for row in compare(join_classes(total, names), labelmap, {"Bone": 0.70})
    ]
    if arguments.example:
        volume, _ = read_volume_and_modality(arguments.example / "example_ct_sm.nii.gz", ("CT",), "CT")
        labelmap = create(Settings()).segment(volume, modality="CT")
        if arguments.overlays:
            draw_overlay(volume, labelmap, arguments.overlays / "example_ct_sm.png")
        truth = join_classes(read_mask_on_grid(arguments.example / "example_seg.nii.gz", volume), names)
        for label, name in TISSUES.items():
            truth[label] = read_mask_on_grid(arguments.example / "example_seg_tissue_types" / name, volume) > 0
        rows += [(*row, "30 slices of 3 mm") for row in compare(truth, labelmap, {"Bone": 0.84})]
    for structure, dice, floor, where in rows:
        print(f"| {structure} | TotalSegmentator, {where} | {dice:.3f} | {floor or '–'} |")


def read_series(folder: Path) -> tuple[highdicom.Volume, str]:
    """Read the volume of a folder's series, and its modality."""
    slices = stack_images(read_images(sorted(folder.iterdir())))
    return load_volume(slices), str(slices.images[0].Modality)


def study_row(name: str, volume: highdicom.Volume, labelmap: Labelmap, present: set[str]) -> str:
    """One line of the first table; `present` are the kinds of structure that are truly in the study."""
    millilitres = labelmap.voxel_counts * float(np.prod(volume.spacing)) / 1000
    reported = {s.label: ml for s, ml in zip(labelmap.segments, millilitres, strict=True)}
    kinds = {kind for kind in ("lung", "airways", "bone", "outline") if any(kind in s.lower() for s in reported)}
    text = ", ".join(f"{label} {ml:.0f}" for label, ml in reported.items())
    shape = "×".join(map(str, volume.spatial_shape))
    return f"| {name} | {shape} | {text} | {_join_words(kinds - present)} | {_join_words(present - kinds)} |"


def read_mask_on_grid(path: Path, volume: highdicom.Volume) -> NDArray[np.uint8]:
    """Read a published mask, resampled to the volume's own grid."""
    reference = nibabel.nifti1.load(path)
    affine = ras_to_lps(reference.affine)
    mask = highdicom.Volume(np.asarray(reference.dataobj).astype(np.uint8), affine, "PATIENT")
    on_grid: NDArray[np.uint8] = mask.match_geometry(volume.get_geometry()).array
    return on_grid


def join_classes(total: NDArray[np.uint8], names: dict[int, str]) -> dict[str, NDArray[np.bool_]]:
    """Join classes of TotalSegmentator's task `total` to our segments: masks by label."""
    groups: dict[str, Callable[[str], bool]] = {
        "Right lung (aerated)": lambda n: n.startswith("lung_") and n.endswith("_right"),
        "Left lung (aerated)": lambda n: n.startswith("lung_") and n.endswith("_left"),
        "Bone": lambda n: n.startswith(BONES),
    }
    return {label: np.isin(total, [v for v, n in names.items() if is_part(n)]) for label, is_part in groups.items()}


def compare(
    truth: dict[str, NDArray[np.bool_]], labelmap: Labelmap, floors: dict[str, float]
) -> Iterable[tuple[str, float, float | None]]:
    """(structure, Dice, floor) of the structures that the reference has."""
    for label, theirs in truth.items():
        ours = _mask_of(labelmap, label)
        if theirs.any():
            dice = 2 * float((theirs & ours).sum()) / float(theirs.sum() + ours.sum())
            yield label, dice, {**MIN_DICE, **floors}.get(label)


def _mask_of(labelmap: Labelmap, label: str) -> NDArray[np.bool_]:
    values = [n for n, segment in enumerate(labelmap.segments, 1) if segment.label == label]
    return np.isin(labelmap.array, values)


def draw_overlay(volume: highdicom.Volume, labelmap: Labelmap, path: Path) -> None:
    """Draw five axial slices and a coronal one, segments in their colours."""
    upright = volume.to_patient_orientation("HPL")
    labels = volume.with_array(labelmap.array).to_patient_orientation("HPL").array
    low, high = np.percentile(upright.array, [1, 99])
    colors = np.array([(0, 0, 0), *(segment.color for segment in labelmap.segments)], np.float32)

    def tile(values: NDArray[np.generic], segments: NDArray[np.uint16]) -> NDArray[np.uint8]:
        grey = np.clip((values.astype(np.float32) - low) / max(high - low, 1), 0, 1)[..., None] * 255
        mixed: NDArray[np.float32] = np.where((segments > 0)[..., None], 0.5 * grey + 0.5 * colors[segments], grey)
        return np.asarray(
            Image.fromarray(np.repeat(mixed, 3 // mixed.shape[-1], 2).astype(np.uint8)).resize((320, 320))
        )

    count, rows = upright.spatial_shape[:2]
    tiles = [tile(upright.array[count * k // 8], labels[count * k // 8]) for k in (1, 3, 4, 5, 7)]
    tiles.append(tile(upright.array[::-1, rows // 2], labels[::-1, rows // 2]))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.hstack(tiles)).save(path)


def _join_words(kinds: set[str]) -> str:
    return ", ".join(sorted(kinds)) or "–"


if __name__ == "__main__":
    main()
