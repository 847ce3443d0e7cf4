"""Bone: dense voxels that hang together with very dense ones, without contrast-filled heart and vessels."""

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
    fill_holes_in_slices,
    smooth_slices,
)

MIN_BONE_HU = 135
"""Bone is denser than this on the working grid, but for its marrow."""
MIN_CORTEX_HU = 350
"""Denser than this is cortex, not contrast medium in blood."""
MIN_MARROW_HU = 80
"""What bone encloses and is denser than this, smoothed, is marrow."""
MAX_SOFT_TISSUE_HU = MIN_MARROW_HU
"""Soft tissue, in which the noise is measured, lies between 0 and this."""
MARROW_GAP_MM = 6.0
"""Radius of the closing that encloses marrow in cortex with gaps."""

MIN_PART_ML, MIN_PART_CORTEX_ML = 0.4, 0.1
"""A bone is larger than the first of these, and its cortex than the second."""
MIN_CORTEX_SHARE, MIN_CORTEX_SHARE_WITHOUT_BLOOD = 0.03, 0.05
"""Share of a bone's voxels that are cortex: at first, and once blood is taken off."""

MIN_CORE_DEPTH_MM = 4.5
"""The core of a region lies deeper than this below its surface."""
MAX_RIM_DEPTH_MM = 2.5
"""The rim of a region lies at most so deep below its surface."""
MAX_CORE_REACH_MM = 5.5
"""What lies at most so far from a core belongs to it."""
MIN_CORE_ML = 0.5
"""A smaller core is not judged."""
MAX_CORES = 4000
"""More cores are noise: none is judged."""
MIN_RIM_VOXELS = 20
"""A smaller rim says nothing."""
RIM_PERCENTILE = 70
"""The rim's density: its bright part counts, as bone's rim is bright."""
MIN_CORE_ABOVE_RIM_HU = 25
"""Blood's core is brighter than its rim by more than this."""
MAX_BLOOD_HU = 700
"""Denser than this is bone or metal, whatever its rim."""

EVENNESS_WINDOW_MM = 6.0
"""Side of the window in which the spread of densities is measured, and how far blood reaches beyond even voxels."""
MIN_EVEN_ML = 2.0
"""A smaller even region is not taken for blood."""
MAX_SPREAD_BY_NOISE = 1.6
"""Blood's spread of densities is at most so many times the noise of soft tissue."""
NOISE_PERCENTILE, NOISE_SAMPLE_STEP = 25, 7
"""Noise: this percentile of the spread in every seventh voxel of soft tissue."""


def find_bone(densities: Densities, body: Mask, air: Mask, grid: Grid) -> Mask:
    """Bone with its marrow on the working grid. `air`: lungs and airway."""
    dense = (densities > MIN_BONE_HU).view(np.uint8) & body
    found = _keep_parts_with_cortex(dense, densities, grid, share=MIN_CORTEX_SHARE)
    blood = _find_blood_by_dark_rim(found, densities, grid) | _find_blood_by_evenness(found, densities, body, grid)
    if blood.any():
        found = _keep_parts_with_cortex(found & (1 - blood), densities, grid, share=MIN_CORTEX_SHARE_WITHOUT_BLOOD)

    filled = fill_holes_in_slices(close_mask(found, MARROW_GAP_MM, grid))
    enclosed = filled & (1 - found) & (1 - air) & body & (1 - blood)

    return found | (enclosed & (smooth_slices(densities) > MIN_MARROW_HU).view(np.uint8))


def _keep_parts_with_cortex(dense: Mask, densities: Densities, grid: Grid, *, share: float) -> Mask:
    """Components that hold at least this share, and `MIN_PART_CORTEX_ML`, of very dense voxels."""
    parts = cc3d.connected_components(dense, connectivity=18)
    sizes = np.bincount(parts.ravel())
    cortex = np.bincount(parts[densities > MIN_CORTEX_HU].ravel(), minlength=len(sizes))
    is_large = (sizes * grid.voxel_ml > MIN_PART_ML) & (cortex * grid.voxel_ml > MIN_PART_CORTEX_ML)
    keep = is_large & (cortex > share * sizes)
    keep[0] = False
    kept: Mask = keep[parts].view(np.uint8)

    return kept


def _find_blood_by_dark_rim(found: Mask, densities: Densities, grid: Grid) -> Mask:
    """Thick cores whose rim is darker than their inside: blood. Bone has a bright rim."""
    blood = np.zeros_like(found)
    if not found.any():
        return blood

    depth = edt.edt(found, anisotropy=grid.spacing, parallel=THREADS, black_border=False)
    cores = cc3d.connected_components(depth > MIN_CORE_DEPTH_MM, connectivity=6)
    stats = cc3d.statistics(cores)
    if len(stats["voxel_counts"]) > MAX_CORES:
        return blood

    for core in np.flatnonzero(stats["voxel_counts"] * grid.voxel_ml > MIN_CORE_ML):
        if core == 0:
            continue

        box = _enlarge_box(stats["bounding_boxes"][core], 2 * MIN_CORE_DEPTH_MM, grid)
        inside = cores[box] == core
        away = edt.edt(~inside, anisotropy=grid.spacing, parallel=THREADS, black_border=False)
        region = (away <= MAX_CORE_REACH_MM) & (found[box] > 0)
        if _is_blood(densities[box], inside, region & (depth[box] <= MAX_RIM_DEPTH_MM)):
            blood[box] |= region.view(np.uint8)

    return blood


def _is_blood(densities: Densities, inside: NDArray[np.bool_], rim: NDArray[np.bool_]) -> bool:
    if rim.sum() < MIN_RIM_VOXELS:
        return False

    core = float(np.median(densities[inside]))
    above_rim = core - np.percentile(densities[rim], RIM_PERCENTILE)
    return bool(above_rim > MIN_CORE_ABOVE_RIM_HU and core < MAX_BLOOD_HU)


def _find_blood_by_evenness(found: Mask, densities: Densities, body: Mask, grid: Grid) -> Mask:
    """Dense regions without any texture: blood with a little contrast. Marrow lies between trabeculae."""
    spread = _measure_local_spread(densities, grid)
    soft = body.view(bool) & (densities > 0) & (densities < MAX_SOFT_TISSUE_HU)
    if not soft.any():
        return np.zeros_like(found)

    noise = float(np.percentile(spread[soft][::NOISE_SAMPLE_STEP], NOISE_PERCENTILE))
    is_even = (spread < MAX_SPREAD_BY_NOISE * noise) & (densities < MIN_CORTEX_HU)
    parts = cc3d.connected_components(found.view(bool) & is_even)
    large = np.bincount(parts.ravel()) * grid.voxel_ml > MIN_EVEN_ML
    large[0] = False
    even = large[parts].view(np.uint8)

    if not even.any():
        return even

    return dilate_mask(even, EVENNESS_WINDOW_MM, grid) & (densities < MIN_CORTEX_HU).view(np.uint8)


def _measure_local_spread(densities: Densities, grid: Grid) -> NDArray[np.float32]:
    """Standard deviation within a window of each slice, HU."""
    window = tuple(max(3, round(EVENNESS_WINDOW_MM / grid.spacing[axis]) | 1) for axis in (2, 1))
    out = np.empty(densities.shape, np.float32)

    def one(k: int) -> NDArray[np.float32]:
        values = densities[k].astype(np.float32)
        mean = cv2.blur(values, window)
        variance: NDArray[np.float32] = cv2.sqrBoxFilter(values, cv2.CV_32F, window) - mean * mean

        return np.sqrt(np.maximum(variance, 0))

    compute_by_slice(one, out)

    return out


def _enlarge_box(box: tuple[slice, ...], mm: float, grid: Grid) -> tuple[slice, ...]:
    pads = [int(mm / spacing) + 1 for spacing in grid.spacing]
    return tuple(slice(max(0, side.start - pad), side.stop + pad) for side, pad in zip(box, pads, strict=True))
