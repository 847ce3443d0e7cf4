"""A NIfTI file of any kind comes to LPS mm with its own values, or is refused in one sentence."""

import gzip
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from minipacs.errors import Unreadable
from minipacs.formats.nifti import new_image, read_grid, read_layout, read_nifti

TO_RAS = np.array([[-1.0], [-1.0], [1.0], [1.0]])
"""Written out once more: a test does not share the product's own signs."""


def by_simpleitk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (columns, rows, slices), and their affine to LPS mm."""
    image = SimpleITK.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, affine


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("packed", [False, True])
def test_voxels_and_affine_are_those_of_the_file(kind: Any, packed: bool, voxels: np.ndarray, lps: np.ndarray) -> None:
    raw = kind(voxels, TO_RAS * lps).to_bytes()
    found = read_nifti(BytesIO(gzip.compress(raw) if packed else raw))
    assert found.array.dtype == np.int16
    np.testing.assert_array_equal(found.array, voxels)
    np.testing.assert_allclose(found.affine, lps, atol=1e-5)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_it_agrees_with_another_reader(
    dtype: str, order: str, voxels: np.ndarray, lps: np.ndarray, tmp_path: Path
) -> None:
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(order + dtype))
    image = nib.Nifti1Image((voxels % 200).astype(order + dtype), TO_RAS * lps, header)
    image.set_qform(TO_RAS * lps)
    nib.save(image, tmp_path / "v.nii.gz")
    found = read_nifti(BytesIO((tmp_path / "v.nii.gz").read_bytes()))
    array, affine = by_simpleitk(tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_allclose(found.affine, affine, atol=1e-4)


@pytest.mark.parametrize(("unit", "of_a_millimetre"), [("mm", 1), ("meter", 1e-3), ("micron", 1e3), ("unknown", 1)])
def test_lengths_are_millimetres_whatever_the_unit_of_the_file(
    unit: str, of_a_millimetre: float, voxels: np.ndarray, lps: np.ndarray
) -> None:
    image = nib.Nifti1Image(voxels, np.diag([of_a_millimetre] * 3 + [1]) @ (TO_RAS * lps))
    image.header.set_xyzt_units(unit)
    np.testing.assert_allclose(read_nifti(BytesIO(image.to_bytes())).affine, lps, rtol=1e-5, atol=1e-4)


def test_scaled_values_are_multiplied_out(voxels: np.ndarray, lps: np.ndarray) -> None:
    image = nib.Nifti1Image(voxels, TO_RAS * lps)
    raw = bytearray(image.to_bytes())
    raw[112:120] = np.array([2.5, -7], "<f4").tobytes()
    np.testing.assert_allclose(read_nifti(BytesIO(raw)).array, voxels * 2.5 - 7)


def test_a_fourth_axis_of_one_is_none(voxels: np.ndarray, lps: np.ndarray) -> None:
    raw = nib.Nifti1Image(voxels[..., None], TO_RAS * lps).to_bytes()
    assert read_nifti(BytesIO(raw)).array.shape == voxels.shape


def broken() -> dict[str, bytes]:
    """Files that are refused."""
    good = nib.Nifti1Image(np.zeros((5, 4, 3), np.int16), np.diag([1.0, 2, 3, 1])).to_bytes()
    colours = np.zeros((5, 4, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    holes = np.full((5, 4, 3), np.nan, np.float32)

    def changed(at: int, value: np.ndarray) -> bytes:
        raw = bytearray(good)
        raw[at : at + value.nbytes] = value.tobytes()
        return bytes(raw)

    return {
        "nothing": b"",
        "text": b"hello, I am a text",
        "header only": good[:348],
        "cut off": good[:-10],
        "cut off while packed": gzip.compress(good)[:-20],
        "damaged": gzip.compress(np.random.default_rng(1).bytes(9000))[:400] + bytes(400),
        "unknown type": changed(70, np.array(9999, "<i2")),
        "bad magic": changed(344, np.array([b"x1"], "S4")),
        "not a number of a unit": changed(112, np.array([2, np.nan], "<f4")),
        "larger than memory": changed(40, np.array([3, 32767, 32767, 32767], "<i2")),
        "negative": changed(40, np.array([3, -5, 4, 3], "<i2")),
        "colours": nib.Nifti1Image(colours, np.eye(4)).to_bytes(),
        "complex": nib.Nifti1Image(np.zeros((5, 4, 3), np.complex64), np.eye(4)).to_bytes(),
        "holes": nib.Nifti1Image(holes, np.eye(4)).to_bytes(),
        "flat": changed(280, np.array([0, 0, 0, 0], "<f4")),  # srow_x
    }


@pytest.mark.parametrize("name", sorted(broken()))
def test_what_is_broken_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        read_nifti(BytesIO(broken()[name]))
    assert refusal.value.message.endswith(".")


def test_what_is_written_is_read_again(voxels: np.ndarray, lps: np.ndarray, tmp_path: Path) -> None:
    image = new_image(np.ascontiguousarray(voxels.T), lps[:, [2, 1, 0, 3]])
    nib.save(image, tmp_path / "v.nii.gz")
    array, affine = by_simpleitk(tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(array, voxels)
    np.testing.assert_allclose(affine, lps, atol=1e-5)
    shape, to_ras = read_grid(tmp_path / "v.nii.gz")
    assert shape == voxels.shape
    np.testing.assert_allclose(to_ras, TO_RAS * lps, atol=1e-5)
    assert image.header["sform_code"] == image.header["qform_code"] == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_layout_tells_where_voxels_lie_in_the_bytes(order: str, voxels: np.ndarray, lps: np.ndarray) -> None:
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(f"{order}i2"))
    header.extensions.append(nib.nifti1.Nifti1Extension(0, b"names"))
    raw = nib.Nifti1Image(voxels.astype(f"{order}i2"), TO_RAS * lps, header).to_bytes()
    layout = read_layout(raw)
    assert not layout.is_scaled
    in_place = np.frombuffer(raw, layout.dtype, offset=layout.offset).reshape(voxels.shape, order="F")
    np.testing.assert_array_equal(in_place, voxels)


@pytest.mark.parametrize(
    ("slope", "intercept", "is_scaled"),
    [(1, 0, False), (0, 0, False), (0, 5, False), (np.nan, 0, False), (2, 0, True), (1, 5, True), (1, np.nan, True)],
)
def test_the_layout_tells_whether_values_are_scaled(slope: float, intercept: float, is_scaled: bool) -> None:
    raw = bytearray(nib.Nifti1Image(np.zeros((5, 4, 3), np.uint8), np.eye(4)).to_bytes())
    raw[112:120] = np.array([slope, intercept], "<f4").tobytes()
    assert read_layout(raw).is_scaled is is_scaled


@pytest.mark.parametrize("raw", [b"", b"\x01" * 400, bytes(400), (348).to_bytes(4, "little")])
def test_a_layout_of_something_else_is_refused(raw: bytes) -> None:
    with pytest.raises(Unreadable, match="NIfTI-1"):
        read_layout(raw)
