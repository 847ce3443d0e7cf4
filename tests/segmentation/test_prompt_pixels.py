"""Patient coordinates to pixels, on a grid that is oblique, anisotropic and not square."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minipacs.errors import WrongPrompts
from segmentation.prompt_pixels import PromptOnSlice, find_slice_range, group_by_slice
from segmentation.prompts import Box, Point

SHAPE = (12, 20, 28)


@pytest.fixture
def affine() -> np.ndarray:
    """Tilted about two axes; 3 mm between slices, 0.75 mm between rows, 1.25 mm between columns."""
    a, b = np.radians(20), np.radians(35)
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = turn @ np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn[:, [2, 1, 0]] * (3.0, 0.75, 1.25)
    affine[:3, 3] = (-31.5, 12.25, -140)
    return affine


@pytest.fixture
def at(affine: np.ndarray) -> Callable[..., Any]:
    """The patient coordinates of an index."""
    return lambda slice, row, column: tuple(float(v) for v in (affine @ (slice, row, column, 1))[:3])


def test_points_and_boxes_come_to_their_pixels(affine: np.ndarray, at: Callable[..., Any]) -> None:
    prompts = [
        PromptOnSlice(Point(at(3.2, 7.1, 20.9)), None),
        PromptOnSlice(Point(at(3, 2, 5), positive=False), 3),
        PromptOnSlice(Box(at(3, 12, 25), at(3, 4, 9)), 3),
    ]
    found = group_by_slice(prompts, np.linalg.inv(affine), SHAPE)
    assert set(found) == {3}
    assert found[3].positive == ((7, 21),)
    assert found[3].negative == ((2, 5),)
    assert found[3].boxes == ((4, 9, 12, 25),)


def test_a_box_that_reaches_beyond_the_image_is_cut_to_it(affine: np.ndarray, at: Callable[..., Any]) -> None:
    found = group_by_slice([PromptOnSlice(Box(at(3, -5, 20), at(3, 9, 90)), 3)], np.linalg.inv(affine), SHAPE)
    assert found[3].boxes == ((0, 20, 9, 27),)


@pytest.mark.parametrize("index", [(3, 40, 3), (3, -2, 3), (3, 3, 29), (-2, 3, 3), (14, 3, 3)])
def test_a_point_outside_of_the_series_is_refused(
    affine: np.ndarray, at: Callable[..., Any], index: tuple[int, int, int]
) -> None:
    with pytest.raises(WrongPrompts, match="outside"):
        group_by_slice([PromptOnSlice(Point(at(*index)))], np.linalg.inv(affine), SHAPE)


def test_a_point_off_the_image_it_names_is_refused(affine: np.ndarray, at: Callable[..., Any]) -> None:
    with pytest.raises(WrongPrompts, match=r"2\.0 slices off"):
        group_by_slice([PromptOnSlice(Point(at(5, 3, 3)), 3)], np.linalg.inv(affine), SHAPE)


def test_negative_points_alone_mean_nothing(affine: np.ndarray, at: Callable[..., Any]) -> None:
    with pytest.raises(WrongPrompts, match="no positive point and no box"):
        group_by_slice([PromptOnSlice(Point(at(3, 3, 3), positive=False))], np.linalg.inv(affine), SHAPE)


def test_a_box_through_slices_limits_where_a_propagation_goes(affine: np.ndarray, at: Callable[..., Any]) -> None:
    patient_to_index = np.linalg.inv(affine)
    through = [PromptOnSlice(Box(at(8, 3, 3), at(2, 12, 12)))]
    assert find_slice_range(through, patient_to_index, 12) == (2, 8)
    assert list(group_by_slice(through, patient_to_index, SHAPE)) == [5]
    assert find_slice_range([PromptOnSlice(Box(at(3, 3, 3), at(3, 12, 12)), 3)], patient_to_index, 12) == (0, 11)
