"""From the prompted slices through the others: each neighbour takes what the one before it was.

Between two prompted slices each side reaches to the middle. A propagation ends where nothing is left,
or where what is found no longer looks like what was carried there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from segmentation.engines.geodesic.plane_cut import Clues, Mask, Pixel, Plane, carry
from segmentation.prompting.pixels import Source, Wish

LEAST_OVERLAP = 0.5
"""Dice of two neighbouring masks; below it the segment was lost."""
MOST_GROWTH = 1.6
"""Area from one slice to the next; above it the segment has leaked."""


def answer(source: Source, wish: Wish, in_slice: Callable[[int, Clues], Mask]) -> dict[int, Mask]:
    """The prompted slices as `in_slice` segments them, spread where that is wished; empty slices are left out."""
    keys = {k: in_slice(k, clue) for k, clue in wish.clues.items() if clue.ask}
    if not wish.propagate:
        return {k: mask for k, mask in keys.items() if mask.any()}
    negative = {k: clue.negative for k, clue in wish.clues.items() if clue.negative}
    return spread(keys, source.levels, negative, wish.limits)


def spread(
    keys: Mapping[int, Mask],
    levels: Callable[[int], Plane],
    negative: Mapping[int, Sequence[Pixel]],
    limits: tuple[int, int],
) -> dict[int, Mask]:
    """The masks of prompted slices, and of those between and around them. `negative`: clicks by slice."""
    found = {k: mask for k, mask in keys.items() if mask.any()}
    ordered = sorted(keys)
    for number, key in enumerate(ordered):
        if key not in found:
            continue
        below = (ordered[number - 1] + key) // 2 + 1 if number else limits[0]
        above = (key + ordered[number + 1]) // 2 if number + 1 < len(ordered) else limits[1]
        for way in (range(key + 1, above + 1), range(key - 1, below - 1, -1)):
            found |= _along(way, key, keys[key], levels, negative)
    return found


def _along(
    way: Iterable[int],
    key: int,
    start: Mask,
    levels: Callable[[int], Plane],
    negative: Mapping[int, Sequence[Pixel]],
) -> dict[int, Mask]:
    found: dict[int, Mask] = {}
    before, plane = start, levels(key)
    for k in way:
        following = levels(k)
        mask = carry(following, plane, before, negative.get(k, ()))
        if not _continues(before, mask):
            break
        found[k] = before = mask
        plane = following
    return found


def _continues(before: Mask, mask: Mask) -> bool:
    one, other = int(before.sum()), int(mask.sum())
    if not other or other > MOST_GROWTH * one + 50:
        return False
    return 2 * int(np.logical_and(before, mask).sum()) >= LEAST_OVERLAP * (one + other)
