"""A classic image comes out of its file as it was put in, and lies where it was said to lie."""

from io import BytesIO

import numpy as np
import pytest
from highdicom.spatial import ImageToReferenceTransformer
from pydicom import Dataset, dcmread

from minipacs.formats.dicom_image import (
    ImageUids,
    decimal_string,
    encode_file,
    new_image,
    place_image,
    set_pixels,
)
from minipacs.formats.sop_classes import CT_IMAGE, SECONDARY_CAPTURE

UIDS = ImageUids(sop_class=CT_IMAGE, instance="2.25.1", series="2.25.2", study="2.25.3")


def again(image: Dataset) -> Dataset:
    """The image, read from its file."""
    return dcmread(BytesIO(encode_file(image)))


def test_what_a_study_must_have_is_there_even_when_it_is_unknown() -> None:
    image = again(new_image(UIDS, PatientID="P1", InstanceNumber=7))
    assert (image.PatientID, image.InstanceNumber) == ("P1", 7)
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        assert keyword in image
        assert not image.get(keyword)
    assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID == "2.25.1"
    assert image.file_meta.MediaStorageSOPClassUID == image.SOPClassUID == CT_IMAGE
    assert (image.SeriesInstanceUID, image.StudyInstanceUID) == ("2.25.2", "2.25.3")


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", ">i2"])
@pytest.mark.parametrize("shape", [(5, 7), (4, 6), (3, 3)])
def test_grey_pixels_of_any_size_and_order(dtype: str, shape: tuple[int, int]) -> None:
    limits = np.iinfo(np.dtype(dtype).newbyteorder("="))
    pixels = np.random.default_rng(1).integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
    image = new_image(UIDS)
    set_pixels(image, pixels.T)  # not contiguous
    found = again(image)
    np.testing.assert_array_equal(found.pixel_array, pixels.T)
    assert (found.Rows, found.Columns) == shape[::-1]
    assert found.BitsStored == found.BitsAllocated == found.HighBit + 1
    assert len(found.PixelData) % 2 == 0


def test_colours_stay_in_their_order() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 5, 3)).astype(np.uint8)
    image = new_image(ImageUids(sop_class=SECONDARY_CAPTURE, instance="2.25.1", series="2.25.2", study="2.25.3"))
    set_pixels(image, pixels)
    found = again(image)
    assert found.PhotometricInterpretation == "RGB"
    np.testing.assert_array_equal(found.pixel_array, pixels)


def test_a_pixel_lies_where_the_grid_says(lps: np.ndarray) -> None:
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    cosines = lps[:3, :3] / spacing
    image = new_image(UIDS)
    place_image(
        image,
        frame_of_reference="2.25.4",
        position=[decimal_string(v) for v in lps[:3, 3]],
        orientation=[decimal_string(v) for v in (*cosines[:, 0], *cosines[:, 1])],
        pixel_spacing=[decimal_string(spacing[1]), decimal_string(spacing[0])],
        slice_thickness=decimal_string(spacing[2]),
    )
    set_pixels(image, np.zeros((6, 8), np.int16))
    found = again(image)
    theirs = ImageToReferenceTransformer(
        [float(v) for v in found.ImagePositionPatient],
        [float(v) for v in found.ImageOrientationPatient],
        [float(v) for v in found.PixelSpacing],
    )
    places = theirs(np.array([[0.5, 0.5], [7.5, 2.5]]))  # centres of column 0, row 0 and column 7, row 2
    np.testing.assert_allclose(places, (lps @ [[0, 7], [0, 2], [0, 0], [1, 1]])[:3].T, atol=1e-9)


@pytest.mark.parametrize("value", [0, 1, -1, 0.1, -1 / 3, 1e-9 / 3, -123456.789012345678, 6.02e23, -1.7e-200, 2**31])
def test_a_decimal_string_is_short_and_near(value: float) -> None:
    text = decimal_string(value)
    assert len(text) <= 16
    assert float(text) == pytest.approx(value, rel=1e-8)
