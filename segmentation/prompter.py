"""What an engine is that answers prompts slice by slice, what it takes and what it gives: prompts and masks in pixels.

Such an engine is registered under `minipacs.prompters` too; the prompt service keeps it for many prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from minipacs.formats.grey import Window, render_values

if TYPE_CHECKING:
    from highdicom import Volume

Plane = NDArray[np.float32]
"""Values of a slice, (rows, columns)."""
Mask = NDArray[np.bool_]
"""What of a slice belongs to the segment, (rows, columns)."""
Pixel = tuple[int, int]
"""(row, column), 0-based."""
Rectangle = tuple[int, int, int, int]
"""First row, first column, last row, last column; all inside."""

LEVELS = 400
"""The range of nearly all values of an image without unit is taken for so many levels, as soft tissue's of CT is."""


@dataclass(frozen=True)
class SlicePrompts:
    """What was prompted in one slice."""

    boxes: tuple[Rectangle, ...] = ()
    positive: tuple[Pixel, ...] = ()
    negative: tuple[Pixel, ...] = ()

    @property
    def has_positive_prompt(self) -> bool:
        """Whether anything is to be segmented here: a negative point alone only takes away."""
        return bool(self.positive or self.boxes)

    @property
    def boxes_with_points(self) -> list[tuple[Rectangle | None, list[Pixel]]]:
        """Every box with the positive points in it; those outside of boxes together are one more part."""
        boxed: list[tuple[Rectangle | None, list[Pixel]]] = [
            (box, [pixel for pixel in self.positive if is_within(pixel, box)]) for box in self.boxes
        ]
        free = [pixel for pixel in self.positive if not any(is_within(pixel, box) for box in self.boxes)]

        return [*boxed, (None, free)] if free else boxed


@dataclass(frozen=True)
class PromptsInPixels:
    """Prompts by slice index, and whether neighbouring slices are wanted too."""

    by_slice: Mapping[int, SlicePrompts]
    slice_range: tuple[int, int]
    """First and last slice a propagation may reach."""
    propagate: bool = False
    window: tuple[float, float] | None = None
    """Centre and width, as the viewer shows the image."""


@dataclass(frozen=True, eq=False)
class PromptedSeries:
    """What a prompt engine sees of a series."""

    volume: "Volume"
    """Array (slices, rows, columns), modality values: HU for CT."""
    modality: str
    names: Sequence[str]
    """Of each slice, a name that is its own alone: the SOP Instance UID."""
    windows: Sequence[tuple[float, float] | None] = field(default=())
    """Centre and width that the image itself bears; empty: none."""
    is_inverted: bool = False
    """Low values are white: MONOCHROME1, or Presentation LUT Shape INVERSE."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        slices, rows, columns = self.volume.array.shape
        return slices, rows, columns

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """Values between which nearly all voxels lie."""
        sample = self.volume.array[:: max(1, self.shape[0] // 16), ::4, ::4]
        low, high = np.percentile(sample, (1, 99))
        return float(low), float(max(high, low + 1))

    def get_scaled_slice(self, index: int) -> Plane:
        """A slice as the embedded method takes it: HU; of other modalities the range of values as 400 levels."""
        plane = np.asarray(self.volume.array[index], np.float32)
        if self.modality == "CT":
            return plane

        low, high = self.value_range

        return np.asarray((plane - low) * np.float32(LEVELS / (high - low)), np.float32)

    def get_window(self, index: int) -> tuple[float, float]:
        """The slice's own window; where it bears none, one that shows nearly all values."""
        own = self.windows[index] if self.windows else None
        if own and own[1] >= 1:
            return own

        low, high = self.value_range

        return (low + high) / 2, high - low

    def render_grey(self, index: int, window: tuple[float, float]) -> NDArray[np.uint8]:
        """A slice as the viewer shows it: 8 bits through a window (PS3.3 C.11.2.1.2.1, LINEAR), inverted last."""
        return render_values(np.asarray(self.volume.array[index]), Window(*window), inverted=self.is_inverted)


class Prompter(Protocol):
    """An engine that answers prompts slice by slice."""

    @property
    def name(self) -> str:
        """As everywhere: ManufacturerModelName (0008,1090)."""

    @property
    def version(self) -> str:
        """Changes whenever the same prompts may give another answer."""

    def make_masks(self, series: PromptedSeries, prompts: PromptsInPixels) -> dict[int, Mask]:
        """The segment by slice index; slices without a pixel of it are left out."""

    def close(self) -> None:
        """End what it has started."""


def is_within(pixel: Pixel, box: Rectangle) -> bool:
    """Whether a pixel lies in a box."""
    return box[0] <= pixel[0] <= box[2] and box[1] <= pixel[1] <= box[3]
