"""The region around prompts, and the pixels in it that surely belong to the segment or to the rest."""

from collections.abc import Sequence

import cv2
import numpy as np

from segmentation.prompter import Mask, Pixel, Rectangle

Region = tuple[slice, slice]
"""(rows, columns) of the image that are looked at."""

SEED_RADIUS = 4
"""Of the disc of a click, pixels."""
CLICK_MARGIN = 90
"""Around clicks without a box, pixels."""
BOX_MARGIN, MIN_BOX_MARGIN = 0.2, 8
"""Around a box: of its size, and pixels at least."""
CORE, MIN_CORE = 0.3, 3.0
"""Half axes of the ellipse in the middle of a box: of its sides, and pixels at least."""
BORDER = 2
"""Pixels along the region's edge that are taken for the rest."""


def choose_region(shape: tuple[int, ...], positive: Sequence[Pixel], box: Rectangle | None) -> Region:
    """The part of an image of this shape (rows, columns) around the box, else around the clicks."""
    if box is not None:
        top, left, bottom, right = box
        down = max(MIN_BOX_MARGIN, int(BOX_MARGIN * (bottom - top)))
        across = max(MIN_BOX_MARGIN, int(BOX_MARGIN * (right - left)))
    else:
        rows, columns = [pixel[0] for pixel in positive], [pixel[1] for pixel in positive]
        top, left, bottom, right = min(rows), min(columns), max(rows), max(columns)
        down = across = CLICK_MARGIN

    return (
        slice(max(0, top - down), min(shape[0], bottom + down + 1)),
        slice(max(0, left - across), min(shape[1], right + across + 1)),
    )


def mark_background(shape: tuple[int, ...], region: Region, box: Rectangle | None) -> Mask:
    """The region's border, and all that lies outside the box: surely not of the segment. `shape`: of the region."""
    surroundings = np.ones(shape, np.bool_)
    top, left, bottom, right = (0, 0, *shape)

    if box is not None:
        first_row, first_column = region[0].start, region[1].start
        top, left = box[0] - first_row, box[1] - first_column
        bottom, right = box[2] - first_row + 1, box[3] - first_column + 1

    rows = slice(max(BORDER, top), min(shape[0] - BORDER, bottom))
    columns = slice(max(BORDER, left), min(shape[1] - BORDER, right))
    surroundings[rows, columns] = False

    return surroundings


def mark_box_core(shape: tuple[int, ...], region: Region, box: Rectangle) -> Mask:
    """An ellipse in the middle of a box: what a box is taken to be drawn around. `shape`: of the region."""
    first_row, first_column = region[0].start, region[1].start
    rows, columns = np.ogrid[first_row : first_row + shape[0], first_column : first_column + shape[1]]

    down, across = (max(MIN_CORE, CORE * (box[k + 2] - box[k])) for k in (0, 1))
    distance = ((rows - (box[0] + box[2]) // 2) / down) ** 2 + ((columns - (box[1] + box[3]) // 2) / across) ** 2

    return np.asarray(distance <= 1, np.bool_)


def mark_discs(shape: tuple[int, ...], pixels: Sequence[Pixel], region: Region, radius: int = SEED_RADIUS) -> Mask:
    """A disc around each pixel of the image. `shape`: of the region."""
    discs = np.zeros(shape, np.uint8)

    for row, column in pixels:
        cv2.circle(discs, (column - region[1].start, row - region[0].start), radius, (1,), -1)

    return discs > 0
