"""The embedded method in one plane: geodesic distances from seeds, smoothed by a max-flow cut.

A region around the prompts is cropped. Seeds of the segment are discs at the positive points and an
ellipse in the middle of a box (with points: where its values are theirs); seeds of the rest are discs at the
negative points, the region's border and all that lies outside the box (`seeds.py`). The cut between them is
that of `max_flow.py`.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmentation.engines.geodesic.max_flow import segment_by_max_flow, smooth_noise
from segmentation.engines.geodesic.seeds import (
    SEED_RADIUS,
    Region,
    choose_region,
    mark_background,
    mark_box_core,
    mark_discs,
)
from segmentation.prompter import Mask, Pixel, Plane, Rectangle, SlicePrompts, is_within

MIN_SPREAD, MIN_CORE_SPREAD = 12.0, 30.0
"""The least that the values around a click, and in the middle of a box, are taken to spread, levels."""
MAX_CORE_CHANGE = 60.0
"""Levels by which the core of a propagated segment may change from slice to slice."""
MIN_CORE_PIXELS = 6
"""A smaller core cannot be propagated."""
MAX_OUTER_REACH = 8
"""Pixels by which a segment may grow from slice to slice, and two more."""


def segment_plane(levels: Plane, prompts: SlicePrompts) -> Mask:
    """The segment in one plane: all its parts.

    `levels`: (rows, columns), HU for CT, else values brought to a similar range (`PromptedSeries.levels`).
    """
    mask = np.zeros(levels.shape, np.bool_)

    for box, positive in prompts.boxes_with_points:
        region, part = _segment_part(levels, positive, prompts.negative, box)
        mask[region] |= part

    return mask


def segment_next_plane(levels: Plane, before: Plane, previous: Mask, negative: Sequence[Pixel] = ()) -> Mask:
    """The segment in a neighbouring plane: its core is sure to belong to it, what is far from it is not.

    `before` and `previous`: levels and mask of the plane it comes from. The core keeps their values.
    """
    mask = np.zeros(levels.shape, np.bool_)
    rows, columns = np.nonzero(previous)
    if not rows.size:
        return mask

    reach = max(2, int(0.18 * np.sqrt(rows.size)))
    margin = reach + 12
    region = (
        slice(max(0, int(rows.min()) - margin), int(rows.max()) + margin + 1),
        slice(max(0, int(columns.min()) - margin), int(columns.max()) + margin + 1),
    )
    values, shape = np.ascontiguousarray(levels[region]), previous[region].astype(np.uint8)

    inside = cv2.erode(shape, _make_ellipse(reach)) > 0
    if inside.sum() < MIN_CORE_PIXELS:
        inside = cv2.erode(shape, _make_ellipse(1)) > 0

    if inside.sum() < MIN_CORE_PIXELS:
        return mask

    inside &= np.abs(smooth_noise(values) - np.median(before[region][inside])) < MAX_CORE_CHANGE

    outside = cv2.dilate(shape, _make_ellipse(min(reach, MAX_OUTER_REACH) + 2)) == 0
    outside |= mark_discs(values.shape, negative, region) & ~inside
    inside &= ~outside
    if inside.sum() < MIN_CORE_PIXELS:
        return mask

    mask[region] = _clean_mask(segment_by_max_flow(values, inside, outside), inside) & ~outside

    return mask


def _segment_part(
    levels: Plane, positive: Sequence[Pixel], negative: Sequence[Pixel], box: Rectangle | None
) -> tuple[Region, Mask]:
    """A region, and the segment in it."""
    region = choose_region(levels.shape, positive, box)
    values = np.ascontiguousarray(levels[region])
    inside = _mark_segment_seeds(values, region, positive, negative, box)

    outside = mark_background(values.shape, region, box)
    outside |= mark_discs(values.shape, negative, region) & ~inside
    inside &= ~outside
    if not inside.any():
        return region, inside

    return region, _clean_mask(segment_by_max_flow(values, inside, outside), inside) & ~outside


def _mark_segment_seeds(
    values: Plane, region: Region, positive: Sequence[Pixel], negative: Sequence[Pixel], box: Rectangle | None
) -> Mask:
    """The seeds of the segment."""
    inside = np.zeros(values.shape, np.bool_)
    denied = [pixel for pixel in negative if box is not None and is_within(pixel, box)]

    for pixel in positive:
        disc = mark_discs(values.shape, [pixel], region)
        middle, spread = _measure_median_and_spread(values[disc])
        spread = max(MIN_SPREAD, spread)
        inside |= disc & (np.abs(values - middle) < 2.5 * spread)

        if box is not None and not denied:  # as far from the click's value as the middle's values are from each other
            core = mark_box_core(values.shape, region, box)
            core_spread = max(spread, 1.2 * _measure_median_and_spread(values[core])[1])
            inside |= core & (np.abs(values - middle) < core_spread)

    if box is not None and not positive:
        inside = mark_box_core(values.shape, region, box) & ~mark_discs(values.shape, denied, region, 2 * SEED_RADIUS)
        inside &= _mark_similar_values(values, inside)

    return inside


def _mark_similar_values(values: Plane, seeds: Mask) -> Mask:
    """Where values are those of most seeds: a box drawn by hand is seldom in the middle of what is meant."""
    if not seeds.any():
        return seeds

    middle, spread = _measure_median_and_spread(values[seeds])
    return np.asarray(np.abs(values - middle) < 3 * max(MIN_CORE_SPREAD, spread), np.bool_)


def _measure_median_and_spread(values: NDArray[np.float32]) -> tuple[float, float]:
    """The median, and the median distance from it as a standard deviation."""
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))


def _clean_mask(mask: Mask, inside: Mask) -> Mask:
    """The parts that touch a seed, without whiskers and holes."""
    parts, _ = ndimage.label(mask)
    touching = np.unique(parts[inside])
    mask = np.isin(parts, touching[touching > 0])

    smooth = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))

    return np.asarray(ndimage.binary_fill_holes(smooth), np.bool_)


def _make_ellipse(radius: int) -> Any:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
