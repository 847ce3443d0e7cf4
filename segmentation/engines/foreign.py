"""Engines that live in another program or another Python: give it a volume, read back a labelmap.

Their dependencies clash with ours (slicer-core and TotalSegmentator want different vtk), so nothing of
theirs is imported here: a script of `segmentation/engines/scripts/` runs in their interpreter, between
a NIfTI file of ours and a label file of theirs. It runs in the process group of the engine's child
process, so that a time limit or a cancel ends it too.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from minipacs.errors import EngineFailed, EngineUnavailable, Unreadable
from minipacs.formats.nifti import new_image
from minipacs.memory.process_limit import lift_memory_limit
from segmentation.labelmap import Color, LabelArray, Segment
from segmentation.vocabulary import anatomy, codes
from segmentation.vocabulary.codes import Code

if TYPE_CHECKING:
    from highdicom import Volume, VolumeGeometry
    from numpy.typing import NDArray

SCRIPTS = Path(__file__).with_name("scripts")
ANSWER_FILE = "answer.json"
"""What a script says at its end: a `ScriptAnswer`."""
SAME_GRID_MM = 1e-3
"""Corners of two grids that are the same lie at most so far apart."""
QUERY_LIMIT_S = 60
"""For a program to print its version, or what it has."""
SLICERS_ANATOMICAL_STRUCTURE = "123037004"
"""The category's code in 3D Slicer's and TotalSegmentator's tables; DICOM's is another (`vocabulary/codes.py`)."""

CodeList = list[str]
"""[code value, coding scheme designator, code meaning]"""


class SegmentRow(TypedDict, total=False):
    """A segment as a script names it; `value` and `label` are always there."""

    value: int
    label: str
    category: CodeList
    type: CodeList
    laterality: CodeList
    region: CodeList
    color: list[int]


class ScriptAnswer(TypedDict, total=False):
    """`segments`, and the names of `files` that are kept; or `error`, a sentence, and what it means."""

    segments: list[SegmentRow]
    files: list[str]
    error: str
    hint: str
    unavailable: bool


def run_script(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> ScriptAnswer:
    """Run an engine's script to its end; its answer in `folder`. Raises `EngineFailed`, `EngineUnavailable`.

    What it prints goes to our standard error, which is kept when a segmentation fails.
    """
    try:
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,
            stderr=2,
            check=False,
            cwd=folder,
            env={**os.environ, **environment},
            preexec_fn=lift_memory_limit,
        )
    except OSError as error:
        raise EngineUnavailable(f"{name} cannot be started: {error.strerror}.", f"Try: {command[0]}") from error

    file = folder / ANSWER_FILE
    if not file.is_file():
        raise EngineFailed(f"{name} {_describe_exit(process.returncode)}.", "What it printed is kept with the failure.")

    answer: ScriptAnswer = json.loads(file.read_text("utf-8"))
    if "error" in answer:
        kind = EngineUnavailable if answer.get("unavailable") else EngineFailed
        raise kind(answer["error"], answer.get("hint", ""))

    return answer


def read_program_output(name: str, command: Sequence[str], hint: str) -> str:
    """The last line that a program prints of its version, or of what it has. Raises `EngineUnavailable`."""
    try:
        process = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=QUERY_LIMIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineUnavailable(f"{name} does not answer ({type(error).__name__}).", hint) from error

    lines = process.stdout.strip().splitlines()
    if not lines:
        raise EngineUnavailable(f"{name} says nothing when asked for its version.", hint)

    return lines[-1]


# -- volumes and labels -----------------------------------------------------------------------------
def write_volume(volume: "Volume", path: Path) -> None:
    """Write a volume as NIfTI-1: index (column, row, slice), sform and qform in RAS mm; integers as int16."""
    import nibabel as nib

    array = volume.array
    fits_int16 = array.dtype.kind in "iu" and array.min() >= -32768 and array.max() <= 32767
    array = array.astype(np.int16 if fits_int16 else np.float32, copy=False)

    nib.save(new_image(array, np.asarray(volume.affine)), path)


def read_labels(name: str, path: Path, volume: "Volume") -> LabelArray:
    """A label file (NIfTI or NRRD) on the volume's own indices, (slices, rows, columns).

    Axes may be permuted or reversed; a grid that does not cover the very same voxels raises `EngineFailed`.
    """
    labels = _read_label_volume(name, path)
    found, wanted = labels.get_geometry(), volume.get_geometry()

    other_geometry = EngineFailed(f"{name} returned another geometry than it was given.")
    if sorted(found.spatial_shape) != sorted(wanted.spatial_shape) or not _is_same_box(found, wanted):
        raise other_geometry

    try:
        matched = labels.match_geometry(wanted, tol=SAME_GRID_MM)
    except RuntimeError as error:
        raise other_geometry from error

    return np.ascontiguousarray(matched.array)


def renumber_labels(
    array: "NDArray[Any]", segments: Mapping[int, Segment], name: str
) -> tuple[LabelArray, tuple[Segment, ...]]:
    """The labels numbered 1, 2, 3 … in the order of their values, and their segments.

    Raises `EngineFailed` for a value that is none of `segments`.
    """
    counts = np.bincount(array.ravel())
    values = [int(value) for value in np.flatnonzero(counts) if value]

    unknown = [value for value in values if value not in segments]
    if unknown:
        raise EngineFailed(f"{name} returned the label {unknown[0]}, which it does not name.")

    numbers = np.zeros(len(counts), np.uint8 if len(values) < 256 else np.uint16)
    numbers[values] = np.arange(1, len(values) + 1)

    return numbers[array], tuple(segments[value] for value in values)


def parse_segments(rows: Sequence[SegmentRow]) -> dict[int, Segment]:
    """Label value → segment, from the rows of a script's answer. What has no code is a tissue: true, if little."""
    return {int(row["value"]): _parse_segment(row) for row in rows}


def _parse_segment(row: SegmentRow) -> Segment:
    type_ = _parse_code(row.get("type"))

    category = _parse_code(row.get("category")) or codes.ANATOMICAL_STRUCTURE
    if category.value == SLICERS_ANATOMICAL_STRUCTURE:
        category = codes.ANATOMICAL_STRUCTURE

    return Segment(
        str(row["label"])[:64],
        category if type_ else codes.TISSUE,
        type_ or codes.TISSUE,
        laterality=_parse_code(row.get("laterality")),
        region=_parse_code(row.get("region")),
        color=_parse_color(row),
    )


def _parse_code(value: CodeList | None) -> Code | None:
    return Code(str(value[0]), str(value[1]), str(value[2])[:64]) if value else None


def _parse_color(row: SegmentRow) -> Color:
    if not row.get("color"):
        return anatomy.choose_color(int(row["value"]))

    red, green, blue = (int(channel) for channel in row["color"])
    return red, green, blue


def _read_label_volume(name: str, path: Path) -> "Volume":
    """Values and affine of the file; whole numbers from 0 to 65535, else `EngineFailed`."""
    from segmentation.series_volume import read_volume_file

    try:
        volume = read_volume_file(path, follows=False)
    except Unreadable as error:
        raise EngineFailed(f"{name} returned a file that cannot be read: {error.message}") from error

    array = np.asarray(volume.array)
    whole = np.rint(array)
    if array.min() < 0 or array.max() > 65535 or not np.array_equal(array, whole):
        raise EngineFailed(f"{name} returned something that is not a labelmap.")

    return volume.with_array(whole.astype(np.uint8 if whole.max() < 256 else np.uint16))


def _is_same_box(one: "VolumeGeometry", other: "VolumeGeometry") -> bool:
    return bool(np.abs(_compute_corners(one) - _compute_corners(other)).max() <= SAME_GRID_MM)


def _compute_corners(geometry: "VolumeGeometry") -> "NDArray[np.float64]":
    """The eight outermost voxel centres, LPS mm, in an order that does not depend on the axes."""
    indices = np.array(np.meshgrid(*[(0, n - 1) for n in geometry.spatial_shape])).reshape(3, -1).T
    corners = np.asarray(geometry.map_indices_to_reference(indices))
    return corners[np.lexsort(np.round(corners, 2).T)]


def _describe_exit(code: int) -> str:
    return f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended without a result (exit code {code})"
