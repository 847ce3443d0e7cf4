"""From the prompted slices through the others: each neighbour is segmented from the mask of the one before it.

Between two prompted slices each side reaches to the middle. A propagation ends where nothing is left,
or where what is found no longer looks like the mask it came from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from segmentation.engines.geodesic.plane_cut import segment_next_plane
from segmentation.prompter import Mask, Pixel, Plane, PromptedSeries, PromptsInPixels, SlicePrompts

MIN_OVERLAP = 0.5
"""Dice of two neighbouring masks; below it the segment was lost."""
MAX_GROWTH, GROWTH_MARGIN = 1.6, 50
"""Area from one slice to the next, as a factor and pixels more; above both the segment has leaked."""


def segment_slices(
    series: PromptedSeries, prompts: PromptsInPixels, segment_slice: Callable[[int, SlicePrompts], Mask]
) -> dict[int, Mask]:
    """The prompted slices by `segment_slice`, propagated where that is wanted; empty slices are left out."""
    prompted = {k: segment_slice(k, here) for k, here in prompts.by_slice.items() if here.has_positive_prompt}

    if not prompts.propagate:
        return {k: mask for k, mask in prompted.items() if mask.any()}

    negative = {k: here.negative for k, here in prompts.by_slice.items() if here.negative}

    return propagate_masks(prompted, series.get_scaled_slice, negative, prompts.slice_range)


def propagate_masks(
    prompted: Mapping[int, Mask],
    levels: Callable[[int], Plane],
    negative: Mapping[int, Sequence[Pixel]],
    slice_range: tuple[int, int],
) -> dict[int, Mask]:
    """The masks of prompted slices, and of those between and around them. `negative`: clicks by slice."""
    masks = {k: mask for k, mask in prompted.items() if mask.any()}
    ordered = sorted(prompted)

    for number, start in enumerate(ordered):
        if start not in masks:
            continue

        first = (ordered[number - 1] + start) // 2 + 1 if number else slice_range[0]
        last = (start + ordered[number + 1]) // 2 if number + 1 < len(ordered) else slice_range[1]
        for direction in (range(start + 1, last + 1), range(start - 1, first - 1, -1)):
            masks |= _propagate_in_direction(direction, start, prompted[start], levels, negative)

    return masks


def _propagate_in_direction(
    direction: Iterable[int],
    start: int,
    start_mask: Mask,
    levels: Callable[[int], Plane],
    negative: Mapping[int, Sequence[Pixel]],
) -> dict[int, Mask]:
    """The masks along the direction, until the segment is lost."""
    masks: dict[int, Mask] = {}
    before, plane_before = start_mask, levels(start)

    for k in direction:
        plane = levels(k)
        mask = segment_next_plane(plane, plane_before, before, negative.get(k, ()))
        if not _is_same_segment(before, mask):
            break

        masks[k] = before = mask
        plane_before = plane

    return masks


def _is_same_segment(before: Mask, mask: Mask) -> bool:
    area_before, area = int(before.sum()), int(mask.sum())
    if not area or area > MAX_GROWTH * area_before + GROWTH_MARGIN:
        return False

    return 2 * int(np.logical_and(before, mask).sum()) >= MIN_OVERLAP * (area_before + area)
