"""Bone beside a vessel: density alone does not tell them apart, texture does."""

import numpy as np
import pytest

from segmentation.engines.ct_mr.bone import find_bone
from segmentation.engines.ct_mr.grid import Grid

GRID = Grid((2.5, 1.9, 1.7))
SHAPE = (24, 110, 140)


def make_cylinder_mask(row, column, radius_mm):
    """A cylinder along the slices."""
    rows, columns = np.meshgrid(*[np.arange(n) for n in SHAPE[1:]], indexing="ij")
    inside = np.hypot((rows - row) * GRID.spacing[1], (columns - column) * GRID.spacing[2]) < radius_mm
    return np.broadcast_to(inside, SHAPE)


@pytest.fixture
def spine_and_aorta():
    """Densities, the body, the vertebra (cortex and marrow with trabeculae), the aorta that touches it."""
    random = np.random.default_rng(7)
    body, vertebra, marrow = (
        make_cylinder_mask(55, 70, 85),
        make_cylinder_mask(75, 70, 22),
        make_cylinder_mask(75, 70, 19),
    )
    aorta = make_cylinder_mask(59, 60, 11) & ~vertebra
    values = np.where(body, 50, -1000) + random.normal(0, 8, SHAPE)
    values[vertebra] = 500
    values[marrow] = random.normal(220, 60, int(marrow.sum()))
    values[aorta] = random.normal(150, 8, int(aorta.sum()))
    return values.astype(np.int16), body.astype(np.uint8), vertebra, aorta


def test_blood_with_a_little_contrast_beside_the_spine_is_not_bone(spine_and_aorta):
    densities, body, vertebra, aorta = spine_and_aorta
    found = find_bone(densities, body, np.zeros_like(body), GRID).view(bool)
    assert found[aorta].mean() < 0.05
    assert found[vertebra].mean() > 0.95


def test_bone_without_a_vessel_beside_it_is_whole(spine_and_aorta):
    densities, body, vertebra, aorta = spine_and_aorta
    densities[aorta] = 50
    found = find_bone(densities, body, np.zeros_like(body), GRID).view(bool)
    assert found[vertebra].mean() > 0.95
    assert found[~vertebra].mean() < 0.01
