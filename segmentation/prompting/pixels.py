"""What a user asks for: prompts in patient coordinates, brought to the pixels of a series' planes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from minipacs.errors import WrongPrompts
from minipacs.formats.grey import Window, render_values
from segmentation.engines.geodesic.plane_cut import Clues, Mask, Plane
from segmentation.prompts import Point, Position, Prompt

if TYPE_CHECKING:
    from highdicom import Volume

OFF_PLANE = 1.0
"""A position that names its image may lie so many slices off it."""


@dataclass(frozen=True)
class Placed:
    """A prompt, and the slice it was made on where that is known."""

    prompt: Prompt
    slice: int | None = None


@dataclass(frozen=True)
class Wish:
    """Prompts by slice index, and whether neighbouring slices are wanted too."""

    clues: Mapping[int, Clues]
    limits: tuple[int, int]
    """First and last slice a propagation may reach."""
    propagate: bool = False
    window: tuple[float, float] | None = None
    """Centre and width, as the viewer shows the image."""


@dataclass(frozen=True, eq=False)
class Source:
    """What a prompt engine sees of a series."""

    volume: "Volume"
    """Array (slices, rows, columns), modality values: HU for CT."""
    modality: str
    names: Sequence[str]
    """Of each slice, a name that is its own alone: the SOP Instance UID."""
    windows: Sequence[tuple[float, float] | None] = field(default=())
    """Centre and width that the image itself bears; empty: none."""
    inverted: bool = False
    """Low values are white: MONOCHROME1, or Presentation LUT Shape INVERSE."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        slices, rows, columns = self.volume.array.shape
        return slices, rows, columns

    @cached_property
    def range(self) -> tuple[float, float]:
        """Values between which nearly all voxels lie."""
        sample = self.volume.array[:: max(1, self.shape[0] // 16), ::4, ::4]
        low, high = np.percentile(sample, (1, 99))
        return float(low), float(max(high, low + 1))

    def levels(self, index: int) -> Plane:
        """A slice as the embedded method takes it: HU; of other modalities the range of values as 400 levels."""
        plane = np.asarray(self.volume.array[index], np.float32)
        if self.modality == "CT":
            return plane
        low, high = self.range
        return np.asarray((plane - low) * np.float32(400 / (high - low)), np.float32)

    def window(self, index: int) -> tuple[float, float]:
        """The slice's own window; where it bears none, one that shows nearly all values."""
        own = self.windows[index] if self.windows else None
        low, high = self.range
        return own if own and own[1] >= 1 else ((low + high) / 2, high - low)

    def grey(self, index: int, window: tuple[float, float]) -> NDArray[np.uint8]:
        """A slice as the viewer shows it: 8 bits through a window (PS3.3 C.11.2.1.2.1, LINEAR), inverted last."""
        return render_values(np.asarray(self.volume.array[index]), Window(*window), inverted=self.inverted)


class Prompter(Protocol):
    """An engine that answers prompts slice by slice."""

    @property
    def name(self) -> str:
        """As everywhere: ManufacturerModelName (0008,1090)."""

    @property
    def version(self) -> str:
        """Changes whenever the same prompts may give another answer."""

    def masks(self, source: Source, wish: Wish) -> dict[int, Mask]:
        """The segment by slice index; slices without a pixel of it are left out."""

    def close(self) -> None:
        """End what it has started."""


def clues(placed: Sequence[Placed], to_index: NDArray[np.float64], shape: tuple[int, int, int]) -> dict[int, Clues]:
    """Prompts by slice, in pixels; raises `WrongPrompts` for one that lies outside of the series."""
    found: dict[int, Clues] = {}
    for each in placed:
        if isinstance(each.prompt, Point):
            (at,) = _indices([each.prompt.position], to_index)
            where = _slice(at, at, each.slice, shape)
            pixel = _pixel(at, shape)
            before = found.get(where, Clues())
            if each.prompt.positive:
                found[where] = replace(before, positive=(*before.positive, pixel))
            else:
                found[where] = replace(before, negative=(*before.negative, pixel))
        else:
            one, other = _indices([each.prompt.corner, each.prompt.opposite], to_index)
            where = _slice(one, other, each.slice, shape)
            before = found.get(where, Clues())
            found[where] = replace(before, boxes=(*before.boxes, _rectangle(one, other, shape)))
    if not any(clue.ask for clue in found.values()):
        raise WrongPrompts("There is no positive point and no box.", "Click on what is wanted, or draw a box.")
    return found


def limits(placed: Sequence[Placed], to_index: NDArray[np.float64], slices: int) -> tuple[int, int]:
    """First and last slice of boxes that span several slices; everything where there is none."""
    ends: list[float] = []
    for each in placed:
        if not isinstance(each.prompt, Point) and each.slice is None:
            one, other = _indices([each.prompt.corner, each.prompt.opposite], to_index)
            if abs(one[0] - other[0]) > 1:
                ends += [float(one[0]), float(other[0])]
    if not ends:
        return 0, slices - 1
    return max(0, round(min(ends))), min(slices - 1, round(max(ends)))


def _indices(positions: Sequence[Position], to_index: NDArray[np.float64]) -> NDArray[np.float64]:
    points = np.asarray([(*p, 1.0) for p in positions], float)
    return np.asarray((points @ to_index.T)[:, :3], np.float64)


def _slice(one: NDArray[np.float64], other: NDArray[np.float64], given: int | None, shape: tuple[int, int, int]) -> int:
    middle = float(one[0] + other[0]) / 2
    if given is not None:
        if abs(middle - given) > OFF_PLANE:
            raise WrongPrompts(
                f"A prompt lies {abs(middle - given):.1f} slices off the image it names.",
                "Send patient coordinates (LPS, mm) of that image.",
            )
        return given
    if not -0.5 <= middle <= shape[0] - 0.5:
        raise _outside()
    return int(np.clip(round(middle), 0, shape[0] - 1))


def _pixel(at: NDArray[np.float64], shape: tuple[int, int, int]) -> tuple[int, int]:
    row, column = round(float(at[1])), round(float(at[2]))
    if not (0 <= row < shape[1] and 0 <= column < shape[2]):
        raise _outside()
    return row, column


def _rectangle(
    one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[int, int, int, int]:
    top, left = (round(float(min(one[k], other[k]))) for k in (1, 2))
    bottom, right = (round(float(max(one[k], other[k]))) for k in (1, 2))
    if bottom < 0 or right < 0 or top >= shape[1] or left >= shape[2]:
        raise _outside()
    if bottom - top < 2 or right - left < 2:
        raise WrongPrompts("A box is narrower than three pixels.", "Draw it around what is wanted.")
    return max(0, top), max(0, left), min(shape[1] - 1, bottom), min(shape[2] - 1, right)


def _outside() -> WrongPrompts:
    return WrongPrompts("A prompt lies outside of the series.", "Send patient coordinates (LPS, mm) of its images.")
