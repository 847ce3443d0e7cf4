"""Trachea and bronchi: a chain of round dark discs near the midline, then growth as long as it does not leak."""

from dataclasses import dataclass

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.engines.ct_mr.grid import Densities, Grid, Mask, fill_holes_in_slices, find_first_and_last_true

MAX_TRACHEA_HU = -700
"""The air of the trachea is darker than this."""
MIN_DISC_MM2, MAX_DISC_MM2 = 60, 900
"""Area of the trachea in one slice."""
MAX_DISC_ACROSS_MM = 45
"""Of a disc's bounding box, along rows and along columns."""
MAX_DISC_ELONGATION = 2.2
"""Longer side of a disc's bounding box by the shorter one."""
MIN_DISC_FILL = 0.5
"""Share of its bounding box that a disc fills; a circle fills 0.79."""
MAX_OFF_MIDLINE_SHARE = 0.17
"""Of the body's width, from its middle to a disc's centre."""
MIN_DEPTH_SHARE, MAX_DEPTH_SHARE = 0.12, 0.75
"""Of the body's depth, from its front to a disc's centre."""
MAX_CENTRE_STEP_MM = 12
"""A disc's centre moves at most so far from slice to slice."""
MIN_TRACHEA_MM = 25
"""A shorter chain of discs is no trachea."""
LONG_TRACHEA_MM = 60
"""A chain longer than this is the trachea: no other one is looked for."""
MAX_BRONCHI_BELOW_MM = 140
"""Bronchi reach at most so far below the trachea."""
GROWTH_HU = (-960, -940, -920, -900, -880, -860, -840)
"""Thresholds of the growth from the trachea into the bronchi, one after the other."""
LEAK_STEP_FACTOR, LEAK_SEED_FACTOR = 1.9, 1.6
"""A threshold leaks into lung when it multiplies the volume of the one before by more than the first of these, and
that of the trachea by more than the second."""
MAX_GROWTH_FACTOR, MAX_GROWTH_ML = 3.5, 90
"""The airway is never larger than so many times the trachea, or than the trachea and so much, whichever is more."""


@dataclass(frozen=True)
class Disc:
    """A round dark disc in one slice."""

    slice: int
    pixels: NDArray[np.bool_]
    centre: NDArray[np.float64]
    """(column, row)."""


def find_airway(densities: Densities, body: Mask, grid: Grid) -> Mask:
    """Trachea and main bronchi on the working grid; empty where there is no trachea."""
    out = np.zeros_like(body)
    chain = _find_trachea(densities, body, grid)
    if len(chain) * grid.spacing[0] < MIN_TRACHEA_MM:
        return out

    seed = np.zeros(densities.shape, bool)

    for disc in chain:
        seed[disc.slice] = disc.pixels

    slices = [disc.slice for disc in chain]
    slab = slice(max(0, min(slices) - int(MAX_BRONCHI_BELOW_MM / grid.spacing[0])), max(slices) + 1)
    out[seed] = 1
    out[slab] |= _grow_airway(densities[slab], body[slab], seed[slab], grid)

    return fill_holes_in_slices(out)


def _find_trachea(densities: Densities, body: Mask, grid: Grid) -> list[Disc]:
    """The longest chain of discs, looked for from the top."""
    best: list[Disc] = []
    chain: list[Disc] = []
    low, high = find_first_and_last_true(body.any((1, 2)))

    for k in range(high, low - 1, -1):
        disc = _find_next_disc(densities[k], body[k], k, chain, grid)
        if disc is not None:
            chain.append(disc)
            continue

        best = max(best, chain, key=len)
        chain = []
        if len(best) * grid.spacing[0] > LONG_TRACHEA_MM:
            break

    return max(best, chain, key=len)


def _find_next_disc(densities: Densities, body: Mask, k: int, chain: list[Disc], grid: Grid) -> Disc | None:
    """The disc that continues the chain, or the one nearest to the midline to begin one."""
    if not body.any():
        return None

    left, right = find_first_and_last_true(body.any(0))
    middle = (left + right) / 2
    discs = _find_discs(densities, body, k, grid)
    if not chain:
        return min(discs, key=lambda disc: abs(disc.centre[0] - middle), default=None)

    pixel_mm = np.array([grid.spacing[2], grid.spacing[1]])

    def distance_mm(disc: Disc) -> float:
        return float(np.hypot(*((disc.centre - chain[-1].centre) * pixel_mm)))

    return min((disc for disc in discs if distance_mm(disc) < MAX_CENTRE_STEP_MM), key=distance_mm, default=None)


def _find_discs(densities: Densities, body: Mask, k: int, grid: Grid) -> list[Disc]:
    """Round dark discs near the midline, not at the back."""
    (left, right), (front, back) = find_first_and_last_true(body.any(0)), find_first_and_last_true(body.any(1))
    middle, width, depth = (left + right) / 2, right - left, back - front
    dark = (densities < MAX_TRACHEA_HU).view(np.uint8) & body
    count, parts, stats, centres = cv2.connectedComponentsWithStats(dark, connectivity=4)
    found = []

    for part in range(1, count):
        area = stats[part, cv2.CC_STAT_AREA] * grid.pixel_mm2
        across = stats[part, cv2.CC_STAT_WIDTH] * grid.spacing[2]
        down = stats[part, cv2.CC_STAT_HEIGHT] * grid.spacing[1]
        longer, shorter = max(across, down), min(across, down)
        is_round = longer < MAX_DISC_ACROSS_MM and longer / shorter < MAX_DISC_ELONGATION
        is_filled = area / (across * down) > MIN_DISC_FILL
        is_central = abs(centres[part, 0] - middle) < MAX_OFF_MIDLINE_SHARE * width
        is_deep = MIN_DEPTH_SHARE * depth < centres[part, 1] - front < MAX_DEPTH_SHARE * depth
        if MIN_DISC_MM2 < area < MAX_DISC_MM2 and is_round and is_filled and is_central and is_deep:
            found.append(Disc(k, parts == part, centres[part]))

    return found


def _grow_airway(densities: Densities, body: Mask, seed: NDArray[np.bool_], grid: Grid) -> Mask:
    """Growth from the seed at rising thresholds; the last one before the volume jumps (a leak into lung)."""
    seed_ml, before = grid.measure_ml(seed), 0.0
    grown = np.zeros_like(body)

    for threshold in GROWTH_HU:
        dark = (densities < threshold) & (body > 0)
        parts = cc3d.connected_components(dark, connectivity=6)
        wanted = np.unique(parts[seed & dark])
        region = np.isin(parts, wanted[wanted > 0])
        volume = grid.measure_ml(region)
        leaks = before and volume > LEAK_STEP_FACTOR * before and volume > LEAK_SEED_FACTOR * seed_ml
        if volume > max(MAX_GROWTH_FACTOR * seed_ml, seed_ml + MAX_GROWTH_ML) or leaks:
            break

        before, grown = volume, region.view(np.uint8)

    return grown
