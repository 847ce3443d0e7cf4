"""The aerated lungs, right and left; gas in stomach and bowel, sinuses and air around a patient are not lung."""

import cc3d
import cv2
import edt
import numpy as np
from numpy.typing import NDArray

from segmentation.engines.ct_mr.grid import (
    THREADS,
    Densities,
    Grid,
    Mask,
    close_mask,
    compute_by_slice,
    dilate_mask,
    erode_mask,
    fill_holes_in_slices,
    fill_holes_in_volume,
    find_first_and_last_true,
)
from segmentation.labelmap import find_boxes

MAX_AIR_HU = -400
"""Aerated lung and gas are darker than this."""
AIRWAY_WALL_MM = 2.5
"""What lies nearer to the airway is its wall, not lung."""
VESSEL_GAP_MM = 7.0
"""Radius of the closing that gives a lung its vessels."""
MIN_LUNGS_ML = 40
"""Both together; less is no lung."""

MIN_PART_ML, MIN_PART_SHARE = 20, 0.04
"""A part of a lung has this volume, and this share of the biggest part's."""
MIN_PART_SHARE_ABOVE_AIRWAY = 0.10
"""The same for parts that lie above the top of the airway: paranasal sinuses, air at the head rest."""
PART_CORE_MM = 2.0
"""A part's densities are read so far from its surface."""
MIN_CORE_VOXELS = 20
"""Of a part with a smaller core all densities are read."""

MAX_LUNG_MEDIAN_HU = -450
"""Median density of aerated lung: denser is no lung."""
MIN_LUNG_MEDIAN_HU = -915
"""What is emptier is lung only with texture: bowel gas and outside air are even."""
MIN_TEXTURED_MEDIAN_HU = -965
"""Emptier than this is no lung, whatever its texture."""
MIN_TEXTURE_HU = 80
"""From the median to the 95th percentile: less is even."""
MIN_EVEN_LUNG_ML = 600
"""A part so large is lung though it is even."""

BOWEL_GAS_HEIGHT_SHARE = 0.4
"""Gas of stomach and colon is looked for in this lower share of the lungs."""
MAX_BOWEL_GAS_HU = -915
"""Bowel gas is emptier than this ..."""
MIN_BOWEL_GAS_BELOW_LUNG_HU = 60
"""... and by so much emptier than the lungs' median."""
MEDIAN_SAMPLE_STEP = 7
"""The lungs' median is that of every seventh voxel."""
BOWEL_GAS_CORE_MM = 1.7
"""Radius of the erosion that finds the cores of bowel gas."""
MIN_BOWEL_GAS_ML = 12
"""A smaller core is no bowel gas."""
MAX_BOWEL_GAS_SPREAD_HU = 70
"""From the 20th to the 80th percentile: bowel gas is even."""
NEAR_BOWEL_GAS_MM, BOWEL_GAS_REACH_MM = 3.5, 7.0
"""What is removed around a core: all as far as the first of these, what is empty as far as the second."""
MIN_EMPTY_BELOW_LUNG_HU = 25
"""Empty: by so much below the lungs' median."""
MIN_LUNG_LEFT_ML = 15
"""What is left of the lungs without bowel gas: smaller parts go with it."""

EROSIONS_MM = (0, 1.5, 3, 5, 7, 10, 13)
"""Erosions tried to part the lungs where they touch."""
MIN_SECOND_LUNG_SHARE = 0.12
"""Of all that is left after an erosion: what is smaller is no second lung."""
MIN_OFF_MIDLINE_MM = 25
"""Lungs whose centre is so far from the body's middle are one lung."""


def find_lungs(densities: Densities, body: Mask, airway: Mask, grid: Grid) -> tuple[Mask, Mask]:
    """(right, left), closed over vessels, on the working grid; empty masks where there is no lung."""
    air = (densities < MAX_AIR_HU).view(np.uint8) & body & (1 - dilate_mask(airway, AIRWAY_WALL_MM, grid))
    both = _remove_bowel_gas(densities, _keep_aerated_parts(densities, air, airway, grid), grid)
    if grid.measure_ml(both) <= MIN_LUNGS_ML:
        return np.zeros_like(body), np.zeros_like(body)

    side = _assign_sides(both, body, grid)
    right, left = (_close_lung_mask(both & (side == s).view(np.uint8), body, airway, grid) for s in (0, 1))

    return right, left & (1 - right)


def _keep_aerated_parts(densities: Densities, air: Mask, airway: Mask, grid: Grid) -> Mask:
    """Connected air with the density of aerated lung: emptier is bowel gas, more even is outside air."""
    parts = cc3d.connected_components(air, connectivity=6)
    stats = cc3d.statistics(parts)
    volumes = stats["voxel_counts"] * grid.voxel_ml
    biggest = volumes[1:].max(initial=0)
    core = erode_mask(air, PART_CORE_MM, grid)
    top = find_first_and_last_true(airway.any((1, 2)))[1] if airway.any() else len(air)
    keep = np.zeros(len(volumes), np.uint8)

    for part in np.flatnonzero(volumes >= max(MIN_PART_ML, MIN_PART_SHARE * biggest)):
        if part == 0:
            continue

        box = stats["bounding_boxes"][part]
        is_above = (box[0].start + box[0].stop) / 2 > top
        if is_above and volumes[part] < MIN_PART_SHARE_ABOVE_AIRWAY * biggest:
            continue

        inside = parts[box] == part
        sample = densities[box][inside & (core[box] > 0)]
        if len(sample) < MIN_CORE_VOXELS:
            sample = densities[box][inside]
        keep[part] = _is_aerated(sample, volumes[part])

    kept: Mask = keep[parts]

    return kept


def _is_aerated(densities: NDArray[np.int16], volume_ml: float) -> bool:
    middle, high = np.percentile(densities, [50, 95])
    has_texture = high - middle > MIN_TEXTURE_HU or volume_ml > MIN_EVEN_LUNG_ML
    is_textured_lung = middle > MIN_TEXTURED_MEDIAN_HU and has_texture
    return bool(middle < MAX_LUNG_MEDIAN_HU and (middle > MIN_LUNG_MEDIAN_HU or is_textured_lung))


def _remove_bowel_gas(densities: Densities, both: Mask, grid: Grid) -> Mask:
    """Gas of stomach or colon joined to a lung through a thin diaphragm: an even, empty core low down."""
    if not both.any():
        return both

    low, high = find_first_and_last_true(both.any((1, 2)))
    cut = int(low + (high - low) * BOWEL_GAS_HEIGHT_SHARE) + 1
    typical = float(np.median(densities[both > 0][::MEDIAN_SAMPLE_STEP]))
    even = np.zeros_like(both)
    empty_hu = min(MAX_BOWEL_GAS_HU, typical - MIN_BOWEL_GAS_BELOW_LUNG_HU)
    compute_by_slice(lambda k: (cv2.blur(densities[k], (3, 3)) < empty_hu).view(np.uint8) & both[k], even[:cut])
    cores = cc3d.connected_components(erode_mask(even, BOWEL_GAS_CORE_MM, grid), connectivity=6)
    sizes = np.bincount(cores.ravel())
    sizes[0] = 0
    out = both

    for core in np.flatnonzero(sizes * grid.voxel_ml > MIN_BOWEL_GAS_ML):
        spread = np.subtract(*np.percentile(densities[cores == core], [80, 20]))
        if spread < MAX_BOWEL_GAS_SPREAD_HU:
            gas = (cores == core).view(np.uint8)
            empty = (densities < typical - MIN_EMPTY_BELOW_LUNG_HU).view(np.uint8)
            removed = dilate_mask(gas, BOWEL_GAS_REACH_MM, grid) & (empty | dilate_mask(gas, NEAR_BOWEL_GAS_MM, grid))
            out = out & (1 - removed)

    return out if out is both else _keep_large_parts(out, MIN_LUNG_LEFT_ML, grid)


def _keep_large_parts(mask: Mask, least_ml: float, grid: Grid) -> Mask:
    parts = cc3d.connected_components(mask, connectivity=6)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept: Mask = (sizes * grid.voxel_ml > least_ml).astype(np.uint8)[parts]

    return kept


def _assign_sides(both: Mask, body: Mask, grid: Grid) -> Mask:
    """0 where the voxel is nearer to the right lung, 1 where nearer to the left; found on half the grid."""
    half = np.ascontiguousarray(both[:, ::2, ::2])
    spacing = (grid.spacing[0], 2 * grid.spacing[1], 2 * grid.spacing[2])
    seeds = _find_seeds_of_both_lungs(half, spacing)
    if seeds is None:
        side = _split_by_midline(half, body, grid)
    else:
        right, left = (edt.edt(~seed, anisotropy=spacing, parallel=THREADS) for seed in seeds)
        side = (right > left).view(np.uint8)

    out = np.empty_like(both)
    size = (both.shape[2], both.shape[1])
    compute_by_slice(lambda k: cv2.resize(side[k], size, interpolation=cv2.INTER_NEAREST), out)

    return out


def _find_seeds_of_both_lungs(
    half: Mask, spacing: tuple[float, float, float]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """(right, left) cores of the two lungs, eroded until they part; `None` for one lung, or inseparable ones."""
    depth = edt.edt(half, anisotropy=spacing, parallel=THREADS, black_border=False)
    columns = np.arange(half.shape[2])

    for erosion_mm in EROSIONS_MM:
        parts = cc3d.connected_components(depth > erosion_mm, connectivity=6)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        first, second = [*np.argsort(sizes)[::-1][:2], 0][:2]
        if len(sizes) > 2 and sizes[second] > MIN_SECOND_LUNG_SHARE * sizes.sum():
            seeds = [parts == first, parts == second]
            seeds.sort(key=lambda seed: float(np.average(columns, weights=seed.sum((0, 1)))))
            return seeds[0], seeds[1]  # the smaller column is the patient's right (LPS)

    return None


def _split_by_midline(half: Mask, body: Mask, grid: Grid) -> Mask:
    """One lung lies on one side of the body's middle; two that cannot be parted are cut there."""
    left, right = find_first_and_last_true(body.any((0, 1)))
    middle = (left + right) / 4
    centre = float(np.average(np.arange(half.shape[2]), weights=half.sum((0, 1))))
    if abs(centre - middle) * 2 * grid.spacing[2] > MIN_OFF_MIDLINE_MM:
        return np.full(half.shape, centre > middle, np.uint8)

    beyond = (np.arange(half.shape[2]) >= middle).astype(np.uint8)

    return np.ascontiguousarray(np.broadcast_to(beyond, half.shape))


def _close_lung_mask(mask: Mask, body: Mask, airway: Mask, grid: Grid) -> Mask:
    """A lung with its vessels, inside the body and without the airway. Closing and filling stay in the lung's box."""
    (box,) = find_boxes(mask, 1)
    if box is None:
        return mask

    out = np.zeros_like(mask)
    out[box] = fill_holes_in_volume(
        fill_holes_in_slices(close_mask(np.ascontiguousarray(mask[box]), VESSEL_GAP_MM, grid))
    )

    return out & body & (1 - airway)
