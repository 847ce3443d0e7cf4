"""What an engine gives: exclusive, coded segments on the grid of a volume.

Voxels are counted and boxes found plane by plane, so that nothing as large as the array is made; a box is
that of `scipy.ndimage.find_objects`, in a fifth of its time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from minipacs.errors import EngineFailed
from segmentation.vocabulary.codes import ARTIFICIAL_INTELLIGENCE, TISSUE, Code, CodeJson

if TYPE_CHECKING:
    from highdicom import VolumeGeometry

LabelArray = NDArray[np.uint8] | NDArray[np.uint16]
Extent = tuple[slice, slice, slice]
"""A box in an array: its (slices, rows, columns)."""
Color = tuple[int, int, int]
"""sRGB, 0 to 255."""

BITS_AT_ONCE = 64
"""Values whose boxes are found in one pass: the bits of the widest integer."""


class SegmentJson(TypedDict):
    """A segment in GLB extras, label tables and manifests."""

    value: int
    label: str
    category: CodeJson
    type: CodeJson
    family: CodeJson
    laterality: NotRequired[CodeJson]
    region: NotRequired[CodeJson]
    color: list[int]
    algorithm: str


@dataclass(frozen=True)
class Segment:
    """What one value of a labelmap means."""

    label: str
    category: Code
    type: Code
    laterality: Code | None = None
    """Modifier of `type` (PS3.16 CID 244)."""
    region: Code | None = None
    """Anatomic region, where the type does not say it (fat *of the trunk*)."""
    color: Color = (128, 174, 128)
    algorithm: str = "AUTOMATIC"
    """AUTOMATIC, SEMIAUTOMATIC (made from prompts) or MANUAL (PS3.3 C.8.20.2)."""
    family: Code = ARTIFICIAL_INTELLIGENCE
    """Kind of algorithm (PS3.16 CID 7162)."""
    surface: bool = True
    """Whether a surface of it shows something: not of fat or of what is left over."""
    encloses: bool = False
    """The labelmap holds what is left of it; its surface is drawn around all segments together (body)."""

    @property
    def surface_label(self) -> str:
        """The name of its surface: of a segment that encloses others, without the word for what is left."""
        return self.label.removesuffix(" (remainder)") if self.encloses else self.label

    @property
    def without_enclosed_parts(self) -> "Segment":
        """What the labelmap's voxels alone are: of a segment that encloses others, some tissue within it."""
        if not self.encloses:
            return self

        return replace(self, category=TISSUE, type=TISSUE, laterality=None, region=self.type)

    def as_json(self, value: int) -> SegmentJson:
        """Label, codes and color as JSON; `value`: of the labelmap."""
        row: SegmentJson = {
            "value": value,
            "label": self.label,
            "category": self.category.as_json(),
            "type": self.type.as_json(),
            "family": self.family.as_json(),
            "color": list(self.color),
            "algorithm": self.algorithm,
        }
        if self.laterality:
            row["laterality"] = self.laterality.as_json()

        if self.region:
            row["region"] = self.region.as_json()

        return row

    def __post_init__(self) -> None:
        if not 0 < len(self.label) <= 64:  # Segment Label (0062,0005), VR LO
            raise ValueError(f"a segment's label has 1 to 64 characters, not {self.label!r}")

        if self.algorithm not in ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"):
            raise ValueError(f"Segment Algorithm Type cannot be {self.algorithm!r}")

        if any(not 0 <= channel <= 255 for channel in self.color):
            raise ValueError(f"a color is three integers 0 to 255, not {self.color}")


@dataclass(frozen=True, eq=False)
class Labelmap:
    """Exclusive segments on a volume's grid: value n of `array` is `segments[n - 1]`, 0 is background.

    `array`: (slices, rows, columns), uint8 or uint16, on `geometry`'s indices. A wrong labelmap
    cannot be made: it raises `EngineFailed`.
    """

    array: LabelArray
    geometry: "VolumeGeometry"
    segments: tuple[Segment, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What the engine wrote besides, to be kept beside the results: name (may hold a folder) → content."""

    def __post_init__(self) -> None:
        if self.array.dtype.name not in ("uint8", "uint16"):
            raise EngineFailed(f"A labelmap must be uint8 or uint16, not {self.array.dtype}.")

        if self.array.shape != tuple(self.geometry.spatial_shape):
            raise EngineFailed(
                f"A labelmap must have its volume's shape {tuple(self.geometry.spatial_shape)}, not {self.array.shape}."
            )

        highest = int(self.array.max(initial=0))
        if highest > len(self.segments):
            raise EngineFailed(f"A labelmap holds the value {highest}, but describes {len(self.segments)} segments.")

    @cached_property
    def voxel_counts(self) -> NDArray[np.int64]:
        """Voxels of each segment, in the order of `segments`."""
        return count_voxels(self.array, len(self.segments))

    @cached_property
    def boxes(self) -> list[Extent | None]:
        """The part of `array` in which each segment lies; None for a segment without a voxel."""
        return find_boxes(self.array, len(self.segments))

    def compact(self) -> "Labelmap":
        """Leave out the segments that have no voxel; the others are numbered anew in their order."""
        if self.voxel_counts.all():
            return self

        kept = np.flatnonzero(self.voxel_counts)
        new_values = np.zeros(len(self.segments) + 1, self.array.dtype)
        new_values[kept + 1] = np.arange(1, len(kept) + 1)

        return replace(self, array=new_values[self.array], segments=tuple(self.segments[i] for i in kept))


# -- where the values of an array lie ---------------------------------------------------------------
def count_voxels(labels: LabelArray, highest: int) -> NDArray[np.int64]:
    """Voxels of each value 1 to `highest` in (slices, rows, columns)."""
    counts = np.zeros(highest + 1, np.int64)

    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=highest + 1)

    return counts[1:]


def find_boxes(labels: LabelArray, highest: int) -> list[Extent | None]:
    """The smallest box that holds each value 1 to `highest`; None for a value that does not occur."""
    boxes: list[Extent | None] = []

    for first in range(1, highest + 1, BITS_AT_ONCE):
        values = range(first, min(first + BITS_AT_ONCE, highest + 1))
        boxes += _find_boxes_of_values(labels, highest, values)

    return boxes


def enclose_boxes(boxes: Sequence[Extent]) -> Extent | None:
    """The smallest box around these; None around none."""
    if not boxes:
        return None

    i, j, k = (slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*boxes, strict=True))
    return i, j, k


def _find_boxes_of_values(labels: LabelArray, highest: int, values: range) -> list[Extent | None]:
    """One bit a value: which values each slice, row and column holds."""
    bits = np.zeros(highest + 1, np.min_scalar_type(2 ** len(values) - 1))
    bits[values.start : values.stop] = [1 << n for n in range(len(values))]

    in_slices, in_rows, in_columns = (np.zeros(length, bits.dtype) for length in labels.shape)

    for k, plane in enumerate(labels):
        plane_bits = np.take(bits, plane)
        row_bits = np.bitwise_or.reduce(plane_bits, 1)
        in_slices[k] = np.bitwise_or.reduce(row_bits)
        np.bitwise_or(in_rows, row_bits, out=in_rows)
        np.bitwise_or(in_columns, np.bitwise_or.reduce(plane_bits, 0), out=in_columns)

    return [_make_box([axis & bits[value] for axis in (in_slices, in_rows, in_columns)]) for value in values]


def _make_box(present: list[NDArray[np.unsignedinteger]]) -> Extent | None:
    """The box from what each slice, row and column holds of one value; 0: nothing."""
    indices = [np.flatnonzero(axis) for axis in present]
    if not len(indices[0]):
        return None

    i, j, k = (slice(int(along[0]), int(along[-1]) + 1) for along in indices)

    return i, j, k
