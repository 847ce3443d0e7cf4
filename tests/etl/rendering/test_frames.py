"""Stored values come out of every kind of pixel data as they went in."""

from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from dicom_objects import as_file, image
from etl.rendering.frames import decode_frames, is_image, read_stored_format
from minipacs.errors import NoPicture
from minipacs.formats.grey import Array


def decode_stored_values(dataset: Dataset) -> list[Array]:
    """Stored values of every frame."""
    read = dcmread(DicomBytesIO(as_file(dataset)))
    return [read_stored_format(read, words.dtype).decode(words) for words in decode_frames(read)]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_signed_and_unsigned_words_of_every_size(dtype: str, syntax: Any) -> None:
    limits = np.iinfo(dtype)
    pixels = np.random.default_rng(2).integers(limits.min, limits.max, (2, 5, 7), dtype, endpoint=True)
    dataset = image(pixels)
    if syntax == RLELossless and limits.bits > 16:
        pytest.skip("RLE Lossless has no such words (PS3.5 8.2.2)")
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    elif syntax:
        dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(np.stack(decode_stored_values(dataset)), pixels)


@pytest.mark.parametrize("dtype", [">u2", ">i2"])
def test_big_endian_words(dtype: str) -> None:
    pixels = np.random.default_rng(3).integers(0, 30_000, (5, 7)).astype(dtype)
    dataset = image(pixels)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    np.testing.assert_array_equal(decode_stored_values(dataset)[0], pixels.astype(int))


def test_twelve_bits_signed_below_an_overlay_of_old() -> None:
    values = np.array([[-2048, -1, 0], [1, 2047, 5]])
    words = (values & 0xFFF).astype(np.uint16) | 0xA000
    dataset = image(words, BitsStored=12, HighBit=11, PixelRepresentation=1)
    np.testing.assert_array_equal(decode_stored_values(dataset)[0], values)


def test_values_in_the_high_bits_of_their_words() -> None:
    values = np.array([[0, 1, 4095], [7, 8, 9]])
    dataset = image((values << 4).astype(np.uint16), BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(decode_stored_values(dataset)[0], values)


def test_single_bits() -> None:
    pixels = np.array([[1, 0, 1, 1, 0, 0, 1], [0, 1, 1, 0, 1, 0, 1]], np.uint8)
    packed = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    dataset = image(pixels, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed)
    np.testing.assert_array_equal(decode_stored_values(dataset)[0], pixels)


def test_float_pixels() -> None:
    pixels = np.linspace(-1, 1, 35, dtype="f4").reshape(5, 7)
    dataset = image(pixels.view("u4"), PixelData=None, BitsStored=None, HighBit=None, PixelRepresentation=None)
    dataset.FloatPixelData = pixels.tobytes()
    np.testing.assert_array_equal(decode_stored_values(dataset)[0], pixels)


def test_colour_is_rgb_of_eight_bits() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(next(decode_frames(dcmread(DicomBytesIO(as_file(image(pixels)))))), pixels)
    planes = image(pixels, PlanarConfiguration=1, PixelData=pixels.transpose(2, 0, 1).tobytes() + b"\0")
    np.testing.assert_array_equal(next(decode_frames(dcmread(DicomBytesIO(as_file(planes))))), pixels)


def test_a_palette_of_sixteen_bits_shows_its_eight_highest() -> None:
    codes = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    dataset = image(codes, PhotometricInterpretation="PALETTE COLOR")
    for n, name in enumerate(("Red", "Green", "Blue")):
        entries = np.array([0x0100, 0x80FF, 0xFF00], "<u2") + n * 0x0001
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [3, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", entries.tobytes())
    shown = next(decode_frames(dcmread(DicomBytesIO(as_file(dataset)))))
    assert shown[0].tolist() == [[1, 1, 1], [0x80, 0x81, 0x81], [255, 255, 255]]


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"PixelData": b"\0\0"}, "cut off"),
        ({"PhotometricInterpretation": "CMYK"}, "CMYK is not rendered"),
        ({"Rows": None}, "Rows and Columns"),
        ({"BitsAllocated": 13}, "cannot be decoded"),
    ],
)
def test_pixels_that_cannot_be_shown_say_why(elements: dict[str, Any], reason: str) -> None:
    with pytest.raises(NoPicture, match=reason):
        list(decode_frames(image(np.zeros((5, 7), np.uint16), **elements)))


def test_a_segmentation_is_no_image() -> None:
    assert not is_image(image(np.zeros((5, 7), np.uint8), SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4"))
    assert is_image(image(np.zeros((5, 7), np.uint8)))
