"""Between DICOM's patient coordinates and those of NIfTI, NRRD and 3D Slicer: signs change nowhere else.

DICOM counts x towards the patient's left and y towards the back (LPS, PS3.3 C.7.6.2.1.1); NIfTI and 3D
Slicer count them towards right and front (RAS). Both are mm, and z leads to the head in both. So the
change is its own inverse; it has two names here, so that a call says in which direction it converts.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Affine = NDArray[np.float64]
    """(4, 4): voxel indices to mm."""

__all__ = ["lps_to_ras", "points_lps_to_ras", "ras_to_lps", "reverse_index_order", "space_to_lps"]

SIGNS = {"LPS": (1.0, 1.0, 1.0), "RAS": (-1.0, -1.0, 1.0), "LAS": (1.0, -1.0, 1.0)}
"""Signs of x, y and z in LPS, by the three letters that say where the axes of another space lead to."""


def space_to_lps(affine: "ArrayLike", space: str) -> "Affine":
    """The affine that leads to LPS where this one leads to the space of these letters; an unknown one is LPS."""
    return np.asarray(np.diag([*SIGNS.get(space, SIGNS["LPS"]), 1.0]) @ np.asarray(affine, np.float64))


def lps_to_ras(affine: "ArrayLike") -> "Affine":
    """The affine that leads to RAS where this one leads to LPS: (4, 4), in mm, the same indices."""
    return space_to_lps(affine, "RAS")


def ras_to_lps(affine: "ArrayLike") -> "Affine":
    """The affine that leads to LPS where this one leads to RAS: (4, 4), in mm, the same indices."""
    return lps_to_ras(affine)


def points_lps_to_ras(points: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Points, or vectors, of LPS mm in RAS mm: (n, 3), float32.

    It mirrors nothing: the space is named anew, so a triangle keeps facing outwards.
    """
    return points * np.array(SIGNS["RAS"], np.float32)


def reverse_index_order(affine: "ArrayLike") -> "Affine":
    """The affine for indices (column, row, slice) where this one takes (slice, row, column), and back."""
    return np.asarray(affine, np.float64)[:, [2, 1, 0, 3]]
