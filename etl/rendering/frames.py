"""Pixel data to frames: words of stored values for grey, RGB of 8 bits for colour (PS3.5 8, PS3.3 C.7.6.3)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from minipacs.errors import NoPicture
from minipacs.formats.grey import Array, StoredFormat

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420")
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
LABELS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation and Label Map Segmentation: their pixels are labels, not an image; they have Segment rows."""


def is_image(dataset: Dataset) -> bool:
    """Whether there are pixels to be rendered."""
    return any(name in dataset for name in PIXELS) and dataset.get("SOPClassUID") not in LABELS


def frame_count(dataset: Dataset) -> int:
    """Number of Frames (0028,0008); 1 when absent."""
    try:
        return max(1, int(dataset.get("NumberOfFrames") or 1))
    except (ValueError, TypeError):
        return 1


def read_stored_format(dataset: Dataset, dtype: np.dtype[Any]) -> StoredFormat:
    """How the stored values stand in words of this dtype."""
    native = not _is_encapsulated(dataset)
    bits = min(int(dataset.get("BitsStored") or 8 * dtype.itemsize), 8 * dtype.itemsize)
    high = int(dataset.get("HighBit") if dataset.get("HighBit") is not None else bits - 1)
    return StoredFormat(
        dtype=dtype.str[1:],
        bits_stored=bits,
        shift=max(0, high + 1 - bits) if native else 0,
        signed=bool(dataset.get("PixelRepresentation")),
        masked=native and dtype.kind in "ui" and bits < 8 * dtype.itemsize,
    )


def frames(dataset: Dataset) -> Iterator[Array]:
    """Each frame: (rows, columns) words of stored values, or (rows, columns, 3) uint8 RGB."""
    photometric = str(dataset.get("PhotometricInterpretation") or "")
    if not dataset.get("Rows") or not dataset.get("Columns"):
        raise NoPicture("Rows and Columns are needed with pixel data (PS3.3 C.7.6.3).", "Send the object again.")
    if photometric not in (*GREY, *COLOUR, "PALETTE COLOR"):
        raise NoPicture(
            f"Photometric Interpretation {photometric[:16] or '(none)'} is not rendered (PS3.3 C.7.6.3.1.2).",
            "Convert it to MONOCHROME2 or RGB.",
        )
    if photometric in GREY and _is_plain(dataset):
        return _plain(dataset)
    return _decoded(dataset, photometric)


def _is_plain(dataset: Dataset) -> bool:
    """Uncompressed grey in whole words: the bytes of the file are the array."""
    return (
        "PixelData" in dataset
        and not _is_encapsulated(dataset)
        and dataset.get("BitsAllocated") in (8, 16)
        and dataset.get("SamplesPerPixel", 1) == 1
    )


def _plain(dataset: Dataset) -> Iterator[Array]:
    rows, columns, count = int(dataset.Rows), int(dataset.Columns), frame_count(dataset)
    size = int(dataset.BitsAllocated) // 8
    kind = "i" if dataset.get("PixelRepresentation") else "u"
    order = ">" if _syntax(dataset) == ExplicitVRBigEndian and size > 1 else "<"
    data, length = raw_pixels(dataset), rows * columns * size
    if len(data) < length * count:
        raise NoPicture(
            f"Pixel Data has {len(data)} bytes where {length * count} are needed (PS3.5 8.2): it is cut off.",
            "Send the object again.",
        )
    if order == ">" and dataset["PixelData"].VR == "OB":  # bytes are not swapped; 8.1.2
        order = "<"
    for n in range(count):
        frame = np.frombuffer(data, f"{order}{kind}{size}", rows * columns, n * length).reshape(rows, columns)
        yield frame.astype(f"{kind}{size}") if order == ">" else frame


def raw_pixels(dataset: Dataset) -> bytes | memoryview:
    """Pixel Data as it lies in the file: bytes, or a view of them."""
    element = dataset.get_item("PixelData")
    return getattr(element, "value", None) or b""


def _decoded(dataset: Dataset, photometric: str) -> Iterator[Array]:
    """By pydicom's maintained decoders; YBR becomes RGB (PS3.3 C.7.6.3.1.2), palettes are applied."""
    element = dataset.get_item("PixelData")
    if isinstance(element, RawDataElement) and isinstance(element.value, memoryview):
        dataset[element.tag] = element._replace(value=bytes(element.value))
    pixels = iter_pixels(dataset, raw=False)
    while True:
        try:
            frame = next(pixels)
        except StopIteration:
            return
        except (ValueError, RuntimeError, NotImplementedError, AttributeError, KeyError, TypeError, OSError) as error:
            # the decoders' many ways of saying no
            raise NoPicture(
                f"The pixel data cannot be decoded ({_syntax(dataset).name}): {_sentence(error)}",
                "Convert it with dcmdjpeg or gdcmconv, or send it again.",
            ) from error
        if photometric == "PALETTE COLOR":
            frame = apply_color_lut(frame, dataset)  # PS3.3 C.7.9.2
        if frame.ndim == 2:
            yield np.ascontiguousarray(frame)
        else:
            yield _eight_bits(frame, dataset, photometric)


def _eight_bits(frame: Array, dataset: Dataset, photometric: str) -> Array:
    """The most significant 8 bits of each sample."""
    if frame.dtype == np.uint8:
        return np.ascontiguousarray(frame)
    bits = 8 * frame.dtype.itemsize if photometric == "PALETTE COLOR" else int(dataset.get("BitsStored") or 16)
    return (frame.astype(np.uint32) >> max(0, bits - 8)).clip(0, 255).astype(np.uint8)


def _is_encapsulated(dataset: Dataset) -> bool:
    """Every transfer syntax but four holds its frames in fragments (PS3.5 A.4)."""
    return _syntax(dataset) not in NATIVE


def _syntax(dataset: Dataset) -> UID:
    """Transfer Syntax UID; a file without meta information is taken for what it was read as."""
    meta = getattr(dataset, "file_meta", None)
    given = meta.get("TransferSyntaxUID") if meta else None
    if given:
        return UID(given)
    implicit, little = dataset.original_encoding
    return UID("1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2")


def _sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
