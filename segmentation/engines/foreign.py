"""Engines that live in another program or another Python: hand over a volume, take back a labelmap.

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
from typing import TYPE_CHECKING, Any

import numpy as np

from minipacs.errors import EngineFailed, EngineUnavailable, Unreadable
from minipacs.formats.nifti import new_image
from segmentation.labelmap import Segment
from segmentation.vocabulary import codes
from segmentation.vocabulary.anatomy import color
from segmentation.vocabulary.codes import Code

if TYPE_CHECKING:
    from highdicom import Volume
    from numpy.typing import NDArray

SCRIPTS = Path(__file__).with_name("scripts")
ANSWER = "answer.json"
"""What a script says at its end: `{"segments": […]}`, or `{"error": sentence, "hint": …, "unavailable": bool}`."""
TOLERANCE_MM = 1e-3
ANSWERED_S = 60
"""A question about versions and files is answered within this, or never."""


def run(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run an engine's script to its end; what it answered in `folder`. Raises `EngineFailed`, `EngineUnavailable`.

    What it prints goes to our standard error, which is kept when a segmentation fails.
    """
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,
            stderr=2,
            check=False,
            cwd=folder,
            env={**os.environ, **environment},
        )
    except OSError as error:
        raise EngineUnavailable(f"{name} cannot be started: {error.strerror}.", f"Try: {command[0]}") from error
    file = folder / ANSWER
    if not file.is_file():
        raise EngineFailed(f"{name} {_how(ended.returncode)}.", "What it printed is kept with the failure.")
    answer: dict[str, Any] = json.loads(file.read_text("utf-8"))
    if "error" in answer:
        kind = EngineUnavailable if answer.get("unavailable") else EngineFailed
        raise kind(str(answer["error"]), str(answer.get("hint", "")))
    return answer


def ask(name: str, command: Sequence[str], hint: str, environment: Mapping[str, str] | None = None) -> str:
    """The last line a program prints when asked for its version or files. Raises `EngineUnavailable`."""
    try:
        told = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWERED_S,
            check=True,
            env={**os.environ, **(environment or {})},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineUnavailable(f"{name} does not answer ({type(error).__name__}).", hint) from error
    lines = told.stdout.strip().splitlines()
    if not lines:
        raise EngineUnavailable(f"{name} says nothing when asked for its version.", hint)
    return lines[-1]


def write_volume(volume: "Volume", path: Path) -> None:
    """A volume as NIfTI-1: index (column, row, slice), sform and qform in RAS mm; integers as int16."""
    import nibabel as nib

    array = volume.array
    whole = array.dtype.kind in "iu" and array.min() >= -32768 and array.max() <= 32767
    array = array.astype(np.int16 if whole else np.float32, copy=False)
    nib.save(new_image(array, np.asarray(volume.affine)), path)


def read_labels(name: str, path: Path, volume: "Volume") -> "NDArray[np.uint8] | NDArray[np.uint16]":
    """A label file (NIfTI or NRRD) on the volume's own indices, (slices, rows, columns).

    Axes may be permuted or reversed; a grid that does not cover the very same voxels raises `EngineFailed`.
    """
    labels = _read(name, path)
    given, own = labels.get_geometry(), volume.get_geometry()
    if sorted(given.spatial_shape) != sorted(own.spatial_shape) or not _same_box(given, own):
        raise EngineFailed(f"{name} returned another geometry than it was given.")
    try:
        matched = labels.match_geometry(own, tol=TOLERANCE_MM)
    except RuntimeError as error:
        raise EngineFailed(f"{name} returned another geometry than it was given.") from error
    return np.ascontiguousarray(matched.array)


def segments_of(rows: Sequence[Mapping[str, Any]]) -> dict[int, Segment]:
    """Label value → segment, from the rows of a script's answer.

    A row: `value`, `label`, and where the engine knows them `type`, `category`, `laterality`, `region` as
    `[code, scheme, meaning]`, and `color` as sRGB 0 to 255. What has no code is a tissue: true, if little.
    """
    found = {}
    for row in rows:
        category = _code(row.get("category")) or codes.ANATOMICAL_STRUCTURE
        if category.value == SLICERS_ANATOMICAL_STRUCTURE:
            category = codes.ANATOMICAL_STRUCTURE
        found[int(row["value"])] = Segment(
            str(row["label"])[:64],
            category if row.get("type") else codes.TISSUE,
            _code(row.get("type")) or codes.TISSUE,
            laterality=_code(row.get("laterality")),
            region=_code(row.get("region")),
            color=_color(row),
        )
    return found


def exclusive(
    array: "NDArray[Any]", meant: Mapping[int, Segment], name: str
) -> tuple["NDArray[np.uint8] | NDArray[np.uint16]", tuple[Segment, ...]]:
    """The labels numbered 1, 2, 3 … in the order of their values; every value found must be meant."""
    counts = np.bincount(array.ravel())
    values = [int(value) for value in np.flatnonzero(counts) if value]
    unknown = [value for value in values if value not in meant]
    if unknown:
        raise EngineFailed(f"{name} returned the label {unknown[0]}, which it does not name.")
    table = np.zeros(len(counts), np.uint8 if len(values) < 256 else np.uint16)
    table[values] = np.arange(1, len(values) + 1)
    return table[array], tuple(meant[value] for value in values)


SLICERS_ANATOMICAL_STRUCTURE = "123037004"


def _read(name: str, path: Path) -> "Volume":
    """Values and affine of the file; whole numbers from 0 to 65535, else `EngineFailed`."""
    from segmentation.series_volume import read_file

    try:
        volume = read_file(path)
    except Unreadable as error:
        raise EngineFailed(f"{name} returned a file that cannot be read: {error.message}") from error
    array = np.asarray(volume.array)
    whole = np.rint(array)
    if array.min() < 0 or array.max() > 65535 or not np.array_equal(array, whole):
        raise EngineFailed(f"{name} returned something that is not a labelmap.")
    return volume.with_array(whole.astype(np.uint8 if whole.max() < 256 else np.uint16))


def _same_box(one: Any, other: Any) -> bool:
    return bool(np.abs(_corners(one) - _corners(other)).max() <= TOLERANCE_MM)


def _corners(geometry: Any) -> "NDArray[np.float64]":
    """The eight outermost voxel centres, LPS mm, in an order that does not depend on the axes."""
    indices = np.array(np.meshgrid(*[(0, n - 1) for n in geometry.spatial_shape])).reshape(3, -1).T
    corners = np.asarray(geometry.map_indices_to_reference(indices))
    return corners[np.lexsort(np.round(corners, 2).T)]


def _code(value: Any) -> Code | None:
    return Code(str(value[0]), str(value[1]), str(value[2])[:64]) if value else None


def _color(row: Mapping[str, Any]) -> tuple[int, int, int]:
    if not row.get("color"):
        return color(int(row["value"]))
    red, green, blue = (int(channel) for channel in row["color"])
    return red, green, blue


def _how(code: int) -> str:
    return f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended without a result (exit code {code})"
