"""The whole of a CT: every structure found, on the full grid, as one exclusive labelmap."""

import numpy as np
from numpy.typing import NDArray

from segmentation.engine import Progress, no_progress
from segmentation.engines.ct_mr.airway import find_airway
from segmentation.engines.ct_mr.body import find_body
from segmentation.engines.ct_mr.bone import find_bone
from segmentation.engines.ct_mr.grid import (
    HALF_LEVEL,
    Densities,
    Mask,
    choose_grid,
    compute_by_slice,
    dilate_mask,
    downsample_densities,
    upsample_mask_slice,
)
from segmentation.engines.ct_mr.lungs import find_lungs
from segmentation.engines.ct_mr.tissue import (
    MAX_FAT_HU,
    MAX_LEAN_HU,
    MIN_FAT_HU,
    find_inside_of_muscle_wall,
    reduce_noise,
    refine_bone,
)

BODY, RIGHT_LUNG, LEFT_LUNG, AIRWAYS, BONE, SUBCUTANEOUS_FAT, TORSO_FAT, LEAN = range(1, 9)
"""Values of the labelmap; BODY is what of the body is nothing else."""
STAGES = 6
MAX_AIR_HU = -400
"""Gas within the body is darker than this."""
NEAR_BONE_MM, NEAR_BONE_LEVEL = 2.0, 60
"""How far, and how sure (of 255), the full grid is looked at for cortex around the bone that was found."""


def segment_ct(
    densities: Densities, spacing: tuple[float, float, float], progress: Progress = no_progress
) -> NDArray[np.uint8]:
    """Labelmap of `densities`: (slices, rows, columns) in LPS order, HU; spacing in mm in the same order."""
    grid = choose_grid(densities.shape, spacing)
    progress("body", 0, STAGES)
    small = downsample_densities(densities, grid)
    body_mask = find_body(small, grid)
    progress("airways", 1, STAGES)
    airway_mask = find_airway(small, body_mask, grid)
    progress("lungs", 2, STAGES)
    right, left = find_lungs(small, body_mask, airway_mask, grid)
    progress("bone", 3, STAGES)
    air = right | left | airway_mask
    bone_mask = find_bone(small, body_mask, air, grid)
    progress("muscle wall", 4, STAGES)
    wall = find_inside_of_muscle_wall(small, body_mask, _find_air_in_body(small, body_mask) | air, bone_mask, grid)
    progress("full resolution", 5, STAGES)
    rows, columns = densities.shape[1:]
    near_bone = dilate_mask(bone_mask, NEAR_BONE_MM, grid)
    organs = {RIGHT_LUNG: right, LEFT_LUNG: left, AIRWAYS: airway_mask}
    labels = np.empty(densities.shape, np.uint8)

    def one(k: int) -> Mask:
        def full(mask: Mask, level: int = HALF_LEVEL) -> Mask:
            return upsample_mask_slice(mask, k, (rows, columns), grid, level)

        values = reduce_noise(densities[k], spacing)
        bones = refine_bone(values, full(bone_mask), full(near_bone, NEAR_BONE_LEVEL))
        found = {BONE: bones, **{value: full(mask) for value, mask in organs.items()}}

        return _label_slice(values, full(body_mask), full(wall), found)

    compute_by_slice(one, labels)
    progress("full resolution", STAGES, STAGES)

    return labels


def _find_air_in_body(densities: Densities, body_mask: Mask) -> Mask:
    return (densities < MAX_AIR_HU).view(np.uint8) & body_mask


def _label_slice(values: Densities, outline: Mask, inside: Mask, organs: dict[int, Mask]) -> NDArray[np.uint8]:
    """One slice: what is left of the body, then tissue by density, then organs over it."""
    labels = outline * np.uint8(BODY)
    within = outline.view(bool)
    fat = within & (values >= MIN_FAT_HU) & (values <= MAX_FAT_HU)
    labels[within & (values > MAX_FAT_HU) & (values < MAX_LEAN_HU)] = LEAN
    labels[fat & inside.view(bool)] = TORSO_FAT
    labels[fat & ~inside.view(bool)] = SUBCUTANEOUS_FAT

    for value, organ in organs.items():
        labels[organ.view(bool)] = value

    return labels
