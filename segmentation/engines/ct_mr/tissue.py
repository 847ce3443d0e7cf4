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

MIN_FAT_HU, MAX_FAT_HU = -190, -30
"""Fat, both ends included."""
MAX_LEAN_HU = 250
"""Lean soft tissue lies between fat and this."""
MIN_CORTEX_HU, MIN_MARROW_HU = 160, -50
"""Of bone on the full grid: cortex near the bone that was found, marrow inside it."""
SKIN_MM = 4.0
"""Thickness of skin, which is as dense as muscle."""
STRAND_MM = 2.5
"""Radius of the opening that takes off strands in fat."""
WALL_GAP_MM = 14.0
"""Radius of the closing over gaps of the muscle wall."""
MIN_WALL_MM = 9.0
"""Radius of the opening that takes off what is no part of the trunk."""
FINE_PIXEL_MM = 1
"""Smaller pixels are noisy, and are smoothed."""
PIXEL = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
"""A pixel and its four neighbours."""


def find_inside_of_muscle_wall(densities: Densities, body: Mask, air: Mask, bone: Mask, grid: Grid) -> Mask:
    """All that lies inside the muscular wall of the trunk, on the working grid."""
    under_skin = erode_mask(body, SKIN_MM, grid)
    lean = ((densities > MAX_FAT_HU).view(np.uint8) & under_skin) | air | bone
    closed = close_mask(open_mask(lean, STRAND_MM, grid), WALL_GAP_MM, grid)
    wall = open_mask(fill_holes_in_slices(closed), MIN_WALL_MM, grid)
    if not wall.any():
        return wall

    biggest: Mask = cc3d.largest_k(wall, k=1, connectivity=6, binary_image=True).astype(np.uint8)

    return biggest & body


def refine_bone(values: Densities, inside: Mask, near: Mask) -> Mask:
    """Bone in a slice of the full grid: sharp at its own density `near` the bone that was found, marrow `inside` it."""
    cortex = (values > MIN_CORTEX_HU).view(np.uint8) & near
    marrow = (values > MIN_MARROW_HU).view(np.uint8) & inside
    return cv2.morphologyEx(cortex | marrow, cv2.MORPH_CLOSE, PIXEL).astype(np.uint8, copy=False)


def reduce_noise(densities: Densities, spacing: tuple[float, float, float]) -> Densities:
    """A slice with its noise taken off where pixels are smaller than `FINE_PIXEL_MM`."""
    if spacing[2] >= FINE_PIXEL_MM:
        return densities
    return cv2.GaussianBlur(densities, (3, 3), 0).astype(np.int16, copy=False)
