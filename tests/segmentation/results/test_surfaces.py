"""Surfaces of several segments at once: each is its own segment's, every time."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from highdicom import VolumeGeometry

from segmentation.labelmap import Labelmap, Segment
from segmentation.results.surfaces import MAX_TRIANGLES, Surface, find_surfaces
from segmentation.vocabulary import codes

RADIUS = 54
SIDE = 112
"""Voxels of a ball's box: its surface has twice the triangles that are kept."""
MILLIMETRES = 1.5


@pytest.fixture(scope="module")
def balls() -> Labelmap:
    """Six balls, two rows of three."""
    i, j, k = np.ogrid[:SIDE, :SIDE, :SIDE]
    ball = (i - SIDE / 2) ** 2 + (j - SIDE / 2) ** 2 + (k - SIDE / 2) ** 2 < RADIUS**2
    array = np.hstack([np.dstack([ball * np.uint8(3 * row + n) for n in (1, 2, 3)]) for row in (0, 1)])
    segments = [Segment(f"Ball {n}", codes.ANATOMICAL_STRUCTURE, codes.BONE) for n in range(1, 7)]
    geometry = VolumeGeometry(np.diag([MILLIMETRES] * 3 + [1.0]), array.shape, "PATIENT")
    return Labelmap(array, geometry, tuple(segments))


def measure_volume_ml(surface: Surface) -> float:
    """What a closed surface encloses."""
    a, b, c = (surface.vertices[surface.triangles[:, corner]].astype(float) for corner in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6000


@pytest.fixture
def switch_threads_often() -> Iterator[None]:
    """Threads that change places whenever they may."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_surfaces_made_side_by_side_are_not_mixed(balls: Labelmap, switch_threads_often: None) -> None:
    made = find_surfaces(balls)
    assert [surface.value for surface in made] == [1, 2, 3, 4, 5, 6]
    for n, surface in enumerate(made):
        where = (np.array([0, n // 3, n % 3]) + 0.5) * SIDE * MILLIMETRES
        assert np.abs((surface.vertices.min(0) + surface.vertices.max(0)) / 2 - where).max() < MILLIMETRES
        assert measure_volume_ml(surface) == pytest.approx(4 / 3 * np.pi * (RADIUS * MILLIMETRES) ** 3 / 1000, rel=0.01)
        assert MAX_TRIANGLES - 1000 < len(surface.triangles) <= MAX_TRIANGLES
