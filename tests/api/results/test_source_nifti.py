"""The images under a label map lie voxel for voxel where the labels do, whatever the orientation."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from api.results import source_nifti
from api.uploads import volume_to_dicom
from minipacs.errors import NotAVolume

OBLIQUE = np.array([[0.7, 0.1, 0.05, -10], [-0.1, 0.8, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])


def images(array: Any, affine: Any) -> list[pydicom.Dataset]:
    """A DICOM series of a volume whose affine leads to LPS."""
    return [pydicom.dcmread(io.BytesIO(f)) for f in volume_to_dicom.encode_slices("x", b"seed", array, affine, "CT")]


def grid() -> tuple[Any, Any]:
    """HU of shape (5, 4, 3), non-square and anisotropic, and an oblique affine to LPS."""
    turned = OBLIQUE.copy()
    turned[:3, :3] = np.linalg.qr(OBLIQUE[:3, :3])[0] * [0.7, 0.8, 2.5]
    return (np.arange(60).reshape(5, 4, 3) * 37 - 1000).astype(np.int16), turned


@pytest.mark.parametrize("flipped", [(), (0,), (1,), (2,), (0, 1, 2)])
def test_every_voxel_lies_where_its_label_does(flipped: tuple[int, ...]) -> None:
    array, lps = grid()
    found = images(array, lps)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
    expected = array
    for axis in flipped:  # a label map may count an axis from the other end
        ras[:3, 3] += ras[:3, axis] * (array.shape[axis] - 1)
        ras[:3, axis] *= -1
        expected = np.flip(expected, axis)
    assert np.array_equal(source_nifti.place_on_grid(array.shape, ras, reversed(found)), expected)


def test_axes_may_be_in_another_order() -> None:
    array, lps = grid()
    ras = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)[:, [2, 0, 1, 3]]
    assert np.array_equal(source_nifti.place_on_grid((3, 5, 4), ras, images(array, lps)), array.transpose(2, 0, 1))


def test_images_beside_the_grid_are_refused() -> None:
    array, lps = grid()
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
    ras[2, 3] += 1.0
    with pytest.raises(NotAVolume):
        source_nifti.place_on_grid(array.shape, ras, images(array, lps))
    with pytest.raises(NotAVolume):
        source_nifti.place_on_grid((5, 4, 2), np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps, images(array, lps))


def test_the_oldest_files_make_room_for_a_new_one(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    source_nifti.delete_oldest_files(tmp_path, 25)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle", "new"]
    source_nifti.delete_oldest_files(tmp_path, -1)
    assert not list(tmp_path.iterdir())
