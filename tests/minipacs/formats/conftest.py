"""A grid on which swapped axes and wrong signs fail: oblique, anisotropic, not cubic."""

import numpy as np
import pytest


@pytest.fixture
def voxels() -> np.ndarray:
    """HU of shape (columns 5, rows 4, slices 3), fastest index first."""
    return (np.arange(60).reshape(5, 4, 3) * 37 - 1000).astype(np.int16)


@pytest.fixture
def lps() -> np.ndarray:
    """(column, row, slice) to LPS mm: tilted about two axes; 1.25, 0.75 and 3 mm."""
    a, b = np.radians(20), np.radians(35)
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = turn @ np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * (1.25, 0.75, 3.0)
    affine[:3, 3] = (-31.5, 12.25, -140)
    return affine
