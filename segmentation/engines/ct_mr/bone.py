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
    dilate_mask,
    fill_by_slice,
    fill_holes_in_slices,
    smooth_slices,
)

BONE_HU, CORTEX_HU, MARROW_HU = 135, 350, 80
CORE_MM, RIM_MM, REACH_MM = 4.5, 2.5, 5.5
MANY_CORES = 4000
EVEN_MM, EVEN_ML, EVENER = 6.0, 2.0, 1.6
"""Blood is as even as other soft tissue: windows of this side, components of this size, so many times its noise."""


def find_bone(densities: Densities, body: Mask, air: Mask, grid: Grid) -> Mask:
    """Bone with its marrow on the working grid. `air`: lungs and airway."""
    dense = (densities > BONE_HU).view(np.uint8) & body
    found = _keep_parts_with_cortex(dense, densities, grid, share=0.03)
    blood = _find_blood_by_dark_rim(found, densities, grid) | _find_blood_by_evenness(found, densities, body, grid)
    if blood.any():
        found = _keep_parts_with_cortex(found & (1 - blood), densities, grid, share=0.05)

    enclosed = fill_holes_in_slices(close_mask(found, 6.0, grid)) & (1 - found) & (1 - air) & body & (1 - blood)

    return found | (enclosed & (smooth_slices(densities) > MARROW_HU).view(np.uint8))


def _keep_parts_with_cortex(dense: Mask, densities: Densities, grid: Grid, *, share: float) -> Mask:
    """Components that hold at least this share, and 0.1 mL, of very dense voxels."""
    parts = cc3d.connected_components(dense, connectivity=18)
    sizes = np.bincount(parts.ravel())
    cortex = np.bincount(parts[densities > CORTEX_HU].ravel(), minlength=len(sizes))
    keep = (sizes * grid.voxel_ml > 0.4) & (cortex * grid.voxel_ml > 0.1) & (cortex > share * sizes)
    keep[0] = False
    kept: Mask = keep[parts].view(np.uint8)

    return kept


def _find_blood_by_dark_rim(found: Mask, densities: Densities, grid: Grid) -> Mask:
    """Thick cores whose rim is darker than their inside: blood. Bone has a bright rim."""
    blood = np.zeros_like(found)
    if not found.any():
        return blood

    depth = edt.edt(found, anisotropy=grid.spacing, parallel=THREADS, black_border=False)
    cores = cc3d.connected_components(depth > CORE_MM, connectivity=6)
    stats = cc3d.statistics(cores)
    if len(stats["voxel_counts"]) > MANY_CORES:
        return blood

    for core in np.flatnonzero(stats["voxel_counts"] * grid.voxel_ml > 0.5):
        if core == 0:
            continue

        box = _enlarge_box(stats["bounding_boxes"][core], 2 * CORE_MM, grid)
        inside = cores[box] == core
        away = edt.edt(~inside, anisotropy=grid.spacing, parallel=THREADS, black_border=False)
        region = (away <= REACH_MM) & (found[box] > 0)
        if _is_blood(densities[box], inside, region & (depth[box] <= RIM_MM)):
            blood[box] |= region.view(np.uint8)

    return blood


def _is_blood(densities: Densities, inside: NDArray[np.bool_], rim: NDArray[np.bool_]) -> bool:
    if rim.sum() < 20:
        return False

    core = float(np.median(densities[inside]))
    return bool(core - np.percentile(densities[rim], 70) > 25 and core < 700)


def _find_blood_by_evenness(found: Mask, densities: Densities, body: Mask, grid: Grid) -> Mask:
    """Dense regions without any texture: blood with a little contrast. Marrow lies between trabeculae."""
    spread = _measure_local_spread(densities, grid)
    soft = body.view(bool) & (densities > 0) & (densities < MARROW_HU)
    if not soft.any():
        return np.zeros_like(found)

    noise = float(np.percentile(spread[soft][::7], 25))
    parts = cc3d.connected_components(found.view(bool) & (spread < EVENER * noise) & (densities < CORTEX_HU))
    large = np.bincount(parts.ravel()) * grid.voxel_ml > EVEN_ML
    large[0] = False
    even = large[parts].view(np.uint8)

    return dilate_mask(even, EVEN_MM, grid) & (densities < CORTEX_HU).view(np.uint8) if even.any() else even


def _measure_local_spread(densities: Densities, grid: Grid) -> NDArray[np.float32]:
    """Standard deviation within a window of each slice, HU."""
    window = tuple(max(3, round(EVEN_MM / grid.spacing[axis]) | 1) for axis in (2, 1))
    out = np.empty(densities.shape, np.float32)

    def one(k: int) -> NDArray[np.float32]:
        values = densities[k].astype(np.float32)
        mean = cv2.blur(values, window)
        variance: NDArray[np.float32] = cv2.sqrBoxFilter(values, cv2.CV_32F, window) - mean * mean

        return np.sqrt(np.maximum(variance, 0))

    fill_by_slice(one, out)

    return out


def _enlarge_box(box: tuple[slice, ...], mm: float, grid: Grid) -> tuple[slice, ...]:
    pads = [int(mm / spacing) + 1 for spacing in grid.spacing]
    return tuple(slice(max(0, side.start - pad), side.stop + pad) for side, pad in zip(box, pads, strict=True))
