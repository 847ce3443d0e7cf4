"""Prompts in patient coordinates, brought to the pixels of a series' slices."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from minipacs.errors import WrongPrompts
from segmentation.prompter import Pixel, Rectangle, SlicePrompts
from segmentation.prompts import Point, Position, Prompt

MAX_OFF_SLICE = 1.0
"""A prompt that names its slice may lie so many slices off it."""
MIN_BOX_STEPS = 2
"""From the first to the last pixel of a box, along each side."""

Index = NDArray[np.float64]
"""(slice, row, column), 0-based; not rounded."""
Shape = tuple[int, int, int]
"""(slices, rows, columns)."""


@dataclass(frozen=True)
class PromptOnSlice:
    """A prompt, and the slice it was made on where that is known."""

    prompt: Prompt
    slice: int | None = None


def group_by_slice(
    prompts: Sequence[PromptOnSlice], patient_to_index: NDArray[np.float64], shape: Shape
) -> dict[int, SlicePrompts]:
    """The prompts by slice index, in pixels; raises `WrongPrompts` for one that lies outside of the series.

    `patient_to_index`: (4, 4), LPS mm to (slice, row, column).
    """
    by_slice: dict[int, SlicePrompts] = {}

    for each in prompts:
        if isinstance(each.prompt, Point):
            (at,) = _to_indices([each.prompt.position], patient_to_index)
            number = _choose_slice(at, at, each.slice, shape)
            before, pixel = by_slice.get(number, SlicePrompts()), _to_pixel(at, shape)
            if each.prompt.positive:
                by_slice[number] = replace(before, positive=(*before.positive, pixel))
            else:
                by_slice[number] = replace(before, negative=(*before.negative, pixel))
        else:
            corner, opposite = _to_indices([each.prompt.corner, each.prompt.opposite], patient_to_index)
            number = _choose_slice(corner, opposite, each.slice, shape)
            before, box = by_slice.get(number, SlicePrompts()), _to_rectangle(corner, opposite, shape)
            by_slice[number] = replace(before, boxes=(*before.boxes, box))

    if not any(prompts_here.has_positive_prompt for prompts_here in by_slice.values()):
        raise WrongPrompts("There is no positive point and no box.", "Click on what is wanted, or draw a box.")

    return by_slice


def find_slice_range(
    prompts: Sequence[PromptOnSlice], patient_to_index: NDArray[np.float64], slices: int
) -> tuple[int, int]:
    """First and last slice of boxes that span several slices; all of `slices` where there is none."""
    ends: list[float] = []

    for each in prompts:
        if not isinstance(each.prompt, Point) and each.slice is None:
            corner, opposite = _to_indices([each.prompt.corner, each.prompt.opposite], patient_to_index)
            if abs(corner[0] - opposite[0]) > 1:
                ends += [float(corner[0]), float(opposite[0])]

    if not ends:
        return 0, slices - 1

    return max(0, round(min(ends))), min(slices - 1, round(max(ends)))


def _to_indices(positions: Sequence[Position], patient_to_index: NDArray[np.float64]) -> Index:
    points = np.asarray([(*position, 1.0) for position in positions], float)
    return np.asarray((points @ patient_to_index.T)[:, :3], np.float64)


def _choose_slice(corner: Index, opposite: Index, named: int | None, shape: Shape) -> int:
    """The slice that the prompt names, else the one its middle lies in."""
    middle = float(corner[0] + opposite[0]) / 2

    if named is not None:
        if abs(middle - named) > MAX_OFF_SLICE:
            raise WrongPrompts(
                f"A prompt lies {abs(middle - named):.1f} slices off the image it names.",
                "Send patient coordinates (LPS, mm) of that image.",
            )
        return named

    if not -0.5 <= middle <= shape[0] - 0.5:
        raise _make_outside_error()

    return int(np.clip(round(middle), 0, shape[0] - 1))


def _to_pixel(at: Index, shape: Shape) -> Pixel:
    row, column = round(float(at[1])), round(float(at[2]))
    if not (0 <= row < shape[1] and 0 <= column < shape[2]):
        raise _make_outside_error()

    return row, column


def _to_rectangle(corner: Index, opposite: Index, shape: Shape) -> Rectangle:
    """The part of the box that lies in the image."""
    top, left = (round(float(min(corner[axis], opposite[axis]))) for axis in (1, 2))
    bottom, right = (round(float(max(corner[axis], opposite[axis]))) for axis in (1, 2))

    if bottom < 0 or right < 0 or top >= shape[1] or left >= shape[2]:
        raise _make_outside_error()

    if bottom - top < MIN_BOX_STEPS or right - left < MIN_BOX_STEPS:
        raise WrongPrompts("A box is narrower than three pixels.", "Draw it around what is wanted.")

    return max(0, top), max(0, left), min(shape[1] - 1, bottom), min(shape[2] - 1, right)


def _make_outside_error() -> WrongPrompts:
    return WrongPrompts("A prompt lies outside of the series.", "Send patient coordinates (LPS, mm) of its images.")
