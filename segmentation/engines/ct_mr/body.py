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
    compute_by_slice,
    fill_holes_in_slices,
    fill_holes_in_volume,
    open_mask,
)

MIN_BODY_HU = -250
"""Skin and all within it is denser than this, but for gas."""
TABLE_GAP_MM = 3.2
"""Radius of the opening that parts the body from table, blankets and head rest."""
THIN_MM = 8.0
"""Radius of the opening that takes off what is thinner: cables, folds of blankets."""
MIN_LIMB_SHARE = 0.015
"""A separate part of this share of the biggest is an arm or leg, if its mean density is a body's."""
MIN_LIMB_HU, MAX_LIMB_HU = -150, 250
"""Mean density of an arm or leg."""
MIN_AIR_HU, MAX_AIR_HU = -1010, -400
"""Between these lies what may be lung outside the body's mask; the padding of images lies below."""
MIN_LUNG_OUTSIDE_MM2 = 1500
"""In one slice; less is a fold of air."""
MIN_LUNG_MEDIAN_HU, MAX_LUNG_MEDIAN_HU = -925, -500
"""Median density of lung: outside air is emptier."""
MIN_LUNG_SPREAD_HU = 60
"""From the 20th to the 80th percentile: outside air is more even."""
CHEST_WALL_GAP_MM = 5.0
"""Radius of the closing between the body and the lung that was found outside it."""


def find_body(densities: Densities, grid: Grid) -> Mask:
    """The body on the working grid."""
    dense = open_mask((densities > MIN_BODY_HU).view(np.uint8), TABLE_GAP_MM, grid)
    mask = fill_holes_in_slices(_keep_parts_of_person(dense, densities))
    mask = fill_holes_in_volume(fill_holes_in_slices(open_mask(mask, THIN_MM, grid)))
    lung_outside = _find_lung_outside_mask(densities, mask, grid)

    if not lung_outside.any():
        return mask

    return fill_holes_in_slices(close_mask(mask | lung_outside, CHEST_WALL_GAP_MM, grid))


def _keep_parts_of_person(dense: Mask, densities: Densities) -> Mask:
    """The biggest part, and others that are large and dense as limbs are; a table is not."""
    parts = cc3d.connected_components(dense, connectivity=6)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    keep = np.zeros(len(sizes), np.uint8)
    keep[sizes.argmax()] = sizes.max() > 0

    for part in np.flatnonzero(sizes > MIN_LIMB_SHARE * sizes.max()):
        if not keep[part]:
            keep[part] = MIN_LIMB_HU < densities[parts == part].mean() < MAX_LIMB_HU

    kept: Mask = keep[parts]

    return kept


def _find_lung_outside_mask(densities: Densities, mask: Mask, grid: Grid) -> Mask:
    """Lung that a thin chest wall or a narrow field of view left outside: air with texture inside the convex hull."""
    out = np.zeros_like(mask)
    compute_by_slice(lambda k: _find_lung_outside_mask_in_slice(densities[k], mask[k], grid), out)
    return out


def _find_lung_outside_mask_in_slice(densities: Densities, mask: Mask, grid: Grid) -> Mask:
    found = np.zeros_like(mask)
    outlines = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not outlines:
        return found

    hull = np.zeros_like(mask)
    cv2.fillConvexPoly(hull, cv2.convexHull(max(outlines, key=cv2.contourArea)), 1)
    air = ((densities < MAX_AIR_HU) & (densities > MIN_AIR_HU)).view(np.uint8) & (1 - mask) & hull
    if int(air.sum()) * grid.pixel_mm2 < MIN_LUNG_OUTSIDE_MM2:
        return found

    cleaned = cv2.morphologyEx(air, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(cleaned, connectivity=4)

    for part in range(1, count):
        inside = parts == part
        area_mm2 = stats[part, cv2.CC_STAT_AREA] * grid.pixel_mm2
        if area_mm2 >= MIN_LUNG_OUTSIDE_MM2 and _has_lung_texture(densities[inside]):
            found[inside] = 1

    return found


def _has_lung_texture(densities: NDArray[np.int16]) -> bool:
    """Lung is neither as empty nor as even as the air around a body."""
    low, middle, high = np.percentile(densities, [20, 50, 80])
    return bool(MIN_LUNG_MEDIAN_HU < middle < MAX_LUNG_MEDIAN_HU and high - low > MIN_LUNG_SPREAD_HU)
