"""The whole of a CT: every structure found, on the full grid, as one exclusive labelmap."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from segmentation.engines.ct.airway import airway
from segmentation.engines.ct.body import body
from segmentation.engines.ct.bone import bone
from segmentation.engines.ct.grid import Densities, Mask, by_slice, enlarged, reduced, working_grid
from segmentation.engines.ct.lungs import lungs
from segmentation.engines.ct.tissue import FAT_HU, LEAN_HU_MAX, denoised, full_bone, inside_muscle_wall

BODY, RIGHT_LUNG, LEFT_LUNG, AIRWAYS, BONE, SUBCUTANEOUS_FAT, TORSO_FAT, LEAN = range(1, 9)
"""Values of the labelmap; BODY is what of the body is nothing else."""
STAGES = 7


def segment(
    densities: Densities, spacing: tuple[float, float, float], told: Callable[[str, int, int], None]
) -> NDArray[np.uint8]:
    """Labelmap of `densities`: (slices, rows, columns) in LPS order, HU; spacing in mm in the same order."""
    grid = working_grid(densities.shape, spacing)
    shape = densities.shape
    told("body", 0, STAGES)
    small = reduced(densities, grid)
    body_mask = body(small, grid)
    told("airways", 1, STAGES)
    airway_mask = airway(small, body_mask, grid)
    told("lungs", 2, STAGES)
    right, left = lungs(small, body_mask, airway_mask, grid)
    told("bone", 3, STAGES)
    air = right | left | airway_mask
    bone_mask = bone(small, body_mask, air, grid)
    told("muscle wall", 4, STAGES)
    wall = inside_muscle_wall(small, body_mask, _air_under_skin(small, body_mask) | air, bone_mask, grid)
    told("full resolution", 5, STAGES)
    full = {
        RIGHT_LUNG: enlarged(right, shape, grid),
        LEFT_LUNG: enlarged(left, shape, grid),
        AIRWAYS: enlarged(airway_mask, shape, grid),
        BONE: full_bone(densities, bone_mask, spacing, grid),
    }
    outline, inside = enlarged(body_mask, shape, grid), enlarged(wall, shape, grid)
    told("labels", 6, STAGES)
    labels = np.empty(shape, np.uint8)

    def one(k: int) -> NDArray[np.generic]:
        return _labelled(denoised(densities[k], spacing), outline[k], inside[k], {n: m[k] for n, m in full.items()})

    by_slice(one, labels)
    told("labels", STAGES, STAGES)
    return labels


def _air_under_skin(densities: Densities, body_mask: Mask) -> Mask:
    return (densities < -400).view(np.uint8) & body_mask


def _labelled(values: Densities, outline: Mask, inside: Mask, organs: dict[int, Mask]) -> NDArray[np.uint8]:
    """One slice: what is left of the body, then tissue by density, then organs over it."""
    labels = outline * np.uint8(BODY)
    within = outline.view(bool)
    fat = within & (values >= FAT_HU[0]) & (values <= FAT_HU[1])
    labels[within & (values > FAT_HU[1]) & (values < LEAN_HU_MAX)] = LEAN
    labels[fat & inside.view(bool)] = TORSO_FAT
    labels[fat & ~inside.view(bool)] = SUBCUTANEOUS_FAT
    for value in (BONE, RIGHT_LUNG, LEFT_LUNG, AIRWAYS):
        labels[organs[value].view(bool)] = value
    return labels
