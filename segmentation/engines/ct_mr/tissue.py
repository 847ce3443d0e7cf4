"""What lies around the organs: the muscle wall parts subcutaneous from torso fat; the rest is lean soft tissue."""

import cc3d
import cv2
import numpy as np

from segmentation.engines.ct_mr.grid import (
    Densities,
    Grid,
    Mask,
    close_mask,
    erode_mask,
    fill_holes_in_slices,
    open_mask,
)

FAT_HU = (-190, -30)
"""Fat, both ends included."""
LEAN_HU_MAX = 250
CORTEX_HU, MARROW_HU_MIN = 160, -50
SKIN_MM = 4.0
PIXEL = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
"""A pixel and its four neighbours."""


def find_inside_of_muscle_wall(densities: Densities, body: Mask, air: Mask, bone: Mask, grid: Grid) -> Mask:
    """All that lies inside the muscular wall of the trunk, on the working grid."""
    under_skin = erode_mask(body, SKIN_MM, grid)
    lean = ((densities > FAT_HU[1]).view(np.uint8) & under_skin) | air | bone
    wall = open_mask(fill_holes_in_slices(close_mask(open_mask(lean, 2.5, grid), 14.0, grid)), 9.0, grid)
    if not wall.any():
        return wall

    biggest: Mask = cc3d.largest_k(wall, k=1, connectivity=6, binary_image=True).astype(np.uint8)

    return biggest & body


def refine_bone(values: Densities, inside: Mask, near: Mask) -> Mask:
    """Bone in a slice of the full grid: sharp at its own density `near` the bone that was found, marrow `inside` it."""
    cortex = (values > CORTEX_HU).view(np.uint8) & near
    marrow = (values > MARROW_HU_MIN).view(np.uint8) & inside
    return cv2.morphologyEx(cortex | marrow, cv2.MORPH_CLOSE, PIXEL).astype(np.uint8, copy=False)


def reduce_noise(densities: Densities, spacing: tuple[float, float, float]) -> Densities:
    """A slice with its noise taken off where pixels are smaller than 1 mm."""
    if spacing[2] >= 1:
        return densities
    return cv2.GaussianBlur(densities, (3, 3), 0).astype(np.int16, copy=False)
