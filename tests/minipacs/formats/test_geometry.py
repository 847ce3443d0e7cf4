"""LPS and RAS name the same places, on a grid that is oblique, anisotropic and not square."""

import numpy as np
import pytest

from minipacs.formats.geometry import lps_to_ras, points_lps_to_ras, ras_to_lps, reverse_index_order


@pytest.fixture
def affine() -> np.ndarray:
    """(slice, row, column) to LPS mm: tilted about two axes; 3, 0.75 and 1.25 mm."""
    a, b = np.radians(20), np.radians(35)
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = turn @ np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn[:, [2, 1, 0]] * (3.0, 0.75, 1.25)
    affine[:3, 3] = (-31.5, 12.25, -140)
    return affine


def test_a_voxel_of_lps_has_x_and_y_of_the_other_sign_in_ras(affine: np.ndarray) -> None:
    index = (7, 2, 11, 1)
    x, y, z, _ = affine @ index
    np.testing.assert_allclose(lps_to_ras(affine) @ index, (-x, -y, z, 1))


def test_there_and_back_is_the_same_affine(affine: np.ndarray) -> None:
    np.testing.assert_array_equal(ras_to_lps(lps_to_ras(affine)), affine)
    np.testing.assert_array_equal(reverse_index_order(reverse_index_order(affine)), affine)


def test_a_voxel_stays_where_it_is_when_its_indices_are_counted_from_the_other_end(affine: np.ndarray) -> None:
    np.testing.assert_allclose(reverse_index_order(affine) @ (11, 2, 7, 1), affine @ (7, 2, 11, 1))


def test_points_go_the_way_their_grid_goes(affine: np.ndarray) -> None:
    indices = np.array([(7, 2, 11, 1), (0, 0, 0, 1), (3, 5, 1, 1)])
    lps = (indices @ affine.T)[:, :3].astype(np.float32)
    ras = points_lps_to_ras(lps)
    assert ras.dtype == np.float32
    np.testing.assert_allclose(ras, (indices @ lps_to_ras(affine).T)[:, :3], rtol=1e-6)
