"""Counts and boxes of label values, against numpy and scipy."""

import numpy as np
import pytest
from scipy.ndimage import find_objects

from segmentation.labelmap import count_voxels, find_boxes


@pytest.mark.parametrize(("dtype", "highest"), [(np.uint8, 1), (np.uint8, 8), (np.uint8, 117), (np.uint16, 300)])
def test_counts_and_boxes_are_those_of_numpy_and_scipy(dtype: type, highest: int) -> None:
    chance = np.random.default_rng(4)
    labels = np.zeros((9, 40, 70), dtype)
    for value in range(1, highest + 1, 1 if highest < 3 else 2):  # every other value does not occur
        i, j, k = (chance.integers(0, n) for n in labels.shape)
        labels[i : i + 3, j : j + 5, k : k + 7] = value
    assert np.array_equal(count_voxels(labels, highest), np.bincount(labels.ravel(), minlength=highest + 1)[1:])
    expected = find_objects(labels, max_label=highest)
    assert [b and tuple((s.start, s.stop) for s in b) for b in find_boxes(labels, highest)] == [
        b and tuple((s.start, s.stop) for s in b) for b in expected
    ]


def test_no_value_has_no_box() -> None:
    assert find_boxes(np.zeros((2, 3, 4), np.uint8), 2) == [None, None]
    assert count_voxels(np.zeros((2, 3, 4), np.uint8), 0).tolist() == []
    assert find_boxes(np.zeros((2, 3, 4), np.uint8), 0) == []
