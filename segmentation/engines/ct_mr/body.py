"""The body: everything inside the skin, arms too, without table, blankets and head rest."""

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.engines.ct_mr.grid import (
    Densities,
    Grid,
    Mask,
    close_mask,
    fill_by_slice,
    fill_holes_in_slices,
    fill_holes_in_volume,
    open_mask,
)

SKIN_HU = -250
LIMB_SHARE = 0.015
"""A separate part of this share of the biggest is an arm or leg, if its mean density is a body's."""
LIMB_HU = (-150, 250)
LEAST_LUNG_MM2 = 1500


def find_body(densities: Densities, grid: Grid) -> Mask:
    """The body on the working grid."""
    dense = open_mask((densities > SKIN_HU).view(np.uint8), 3.2, grid)
    mask = fill_holes_in_slices(_keep_parts_of_person(dense, densities))
    mask = fill_holes_in_volume(fill_holes_in_slices(open_mask(mask, 8.0, grid)))
    lung_outside = _find_lung_outside(densities, mask, grid)

    return fill_holes_in_slices(close_mask(mask | lung_outside, 5.0, grid)) if lung_outside.any() else mask


def _keep_parts_of_person(dense: Mask, densities: Densities) -> Mask:
    """The biggest part, and others that are large and dense as limbs are; a table is not."""
    parts = cc3d.connected_components(dense, connectivity=6)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    keep = np.zeros(len(sizes), np.uint8)
    keep[sizes.argmax()] = sizes.max() > 0

    for part in np.flatnonzero(sizes > LIMB_SHARE * sizes.max()):
        if not keep[part]:
            keep[part] = LIMB_HU[0] < densities[parts == part].mean() < LIMB_HU[1]

    kept: Mask = keep[parts]

    return kept


def _find_lung_outside(densities: Densities, mask: Mask, grid: Grid) -> Mask:
    """Lung that a thin chest wall or a narrow field of view left outside: air with texture inside the convex hull."""
    out = np.zeros_like(mask)
    fill_by_slice(lambda k: _find_lung_outside_in_slice(densities[k], mask[k], grid), out)
    return out


def _find_lung_outside_in_slice(densities: Densities, mask: Mask, grid: Grid) -> Mask:
    found = np.zeros_like(mask)
    outlines = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not outlines:
        return found

    hull = np.zeros_like(mask)
    cv2.fillConvexPoly(hull, cv2.convexHull(max(outlines, key=cv2.contourArea)), 1)
    air = ((densities < -400) & (densities > -1010)).view(np.uint8) & (1 - mask) & hull
    if int(air.sum()) * grid.pixel_mm2 < LEAST_LUNG_MM2:
        return found

    cleaned = cv2.morphologyEx(air, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(cleaned, connectivity=4)

    for part in range(1, count):
        inside = parts == part
        if stats[part, cv2.CC_STAT_AREA] * grid.pixel_mm2 >= LEAST_LUNG_MM2 and _has_lung_texture(densities[inside]):
            found[inside] = 1

    return found


def _has_lung_texture(densities: NDArray[np.int16]) -> bool:
    """Lung is neither as empty nor as even as the air around a body."""
    low, middle, high = np.percentile(densities, [20, 50, 80])
    return bool(-925 < middle < -500 and high - low > 60)
