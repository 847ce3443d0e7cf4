"""Pixel data to frames: words of stored values for grey, RGB of 8 bits for colour (PS3.5 8, PS3.3 C.7.6.3)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from minipacs.errors import ExceedsMemory, NoPicture, Unreadable
from minipacs.formats.decode_pixels import PIXEL_KEYWORDS, iterate_frames, read_frame_count
from minipacs.formats.grey import Array, StoredFormat
from minipacs.formats.sop_classes import SEGMENTATIONS
from minipacs.memory.process_limit import explain_memory_error

__all__ = ["decode_frames", "is_image", "read_stored_format"]

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420")
PALETTE = "PALETTE COLOR"

NATIVE_SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
"""Every other transfer syntax has its frames in fragments (PS3.5 A.4)."""

MAX_MESSAGE_LENGTH = 200
"""Characters of a decoder's message that a person is shown."""

DECODER_ERRORS = (
    ValueError,
    RuntimeError,
    NotImplementedError,
    AttributeError,
    KeyError,
    TypeError,
    OSError,
)
"""The decoders' many ways of refusing pixel data."""


def is_image(dataset: Dataset) -> bool:
    """Whether there are pixels to be rendered."""
    has_pixels = any(keyword in dataset for keyword in PIXEL_KEYWORDS)
    return has_pixels and dataset.get("SOPClassUID") not in SEGMENTATIONS


def read_stored_format(dataset: Dataset, dtype: np.dtype[Any]) -> StoredFormat:
    """How the stored values stand in decoded words of this dtype."""
    is_native = not _is_encapsulated(dataset)
    word_bits = 8 * dtype.itemsize
    bits_stored = min(int(dataset.get("BitsStored") or word_bits), word_bits)
    high_bit = int(dataset.get("HighBit") if dataset.get("HighBit") is not None else bits_stored - 1)

    return StoredFormat(
        dtype=dtype.str[1:],
        bits_stored=bits_stored,
        shift=max(0, high_bit + 1 - bits_stored) if is_native else 0,
        signed=bool(dataset.get("PixelRepresentation")),
        masked=is_native and dtype.kind in "ui" and bits_stored < word_bits,
    )


def decode_frames(dataset: Dataset) -> Iterator[Array]:
    """Decode each frame: (rows, columns) words of stored values, or (rows, columns, 3) uint8 RGB.

    Raises `NoPicture`, at once or at a frame that cannot be decoded.
    """
    if not dataset.get("Rows") or not dataset.get("Columns"):
        raise NoPicture("Rows and Columns are needed with pixel data (PS3.3 C.7.6.3).", "Send the object again.")

    photometric = str(dataset.get("PhotometricInterpretation") or "")
    if photometric not in (*GREY, *COLOUR, PALETTE):
        raise NoPicture(
            f"Photometric Interpretation {photometric[:16] or '(none)'} is not rendered (PS3.3 C.7.6.3.1.2).",
            "Convert it to MONOCHROME2 or RGB.",
        )

    if photometric in GREY and _is_uncompressed_grey(dataset):
        return _view_uncompressed_frames(dataset)
    return _decode_with_pydicom(dataset, photometric)


def _is_uncompressed_grey(dataset: Dataset) -> bool:
    """Whether it is uncompressed grey in whole words: then the bytes of the file are the array."""
    return (
        "PixelData" in dataset
        and not _is_encapsulated(dataset)
        and dataset.get("BitsAllocated") in (8, 16)
        and dataset.get("SamplesPerPixel", 1) == 1
    )


def _view_uncompressed_frames(dataset: Dataset) -> Iterator[Array]:
    """The frames as views of the file's bytes, where their byte order is the machine's."""
    rows, columns, number = int(dataset.Rows), int(dataset.Columns), read_frame_count(dataset)
    word_bytes = int(dataset.BitsAllocated) // 8
    frame_bytes = rows * columns * word_bytes

    data = _read_raw_pixel_data(dataset)
    if len(data) < frame_bytes * number:
        raise NoPicture(
            f"Pixel Data has {len(data)} bytes where {frame_bytes * number} are needed (PS3.5 8.2): it is cut off.",
            "Send the object again.",
        )

    kind = "i" if dataset.get("PixelRepresentation") else "u"
    is_swapped = (
        _read_transfer_syntax(dataset) == ExplicitVRBigEndian
        and word_bytes > 1
        and dataset["PixelData"].VR != "OB"  # bytes are not swapped (PS3.5 8.1.2)
    )
    file_dtype = np.dtype(f"{'>' if is_swapped else '<'}{kind}{word_bytes}")

    for index in range(number):
        frame = np.frombuffer(data, file_dtype, rows * columns, index * frame_bytes).reshape(rows, columns)
        yield frame.astype(f"{kind}{word_bytes}") if is_swapped else frame


def _read_raw_pixel_data(dataset: Dataset) -> bytes | memoryview:
    """Pixel Data as it lies in the file: bytes, or a view of them."""
    element = dataset.get_item("PixelData")
    return getattr(element, "value", None) or b""


def _decode_with_pydicom(dataset: Dataset, photometric: str) -> Iterator[Array]:
    """Decode by pydicom's maintained decoders: YBR becomes RGB (PS3.3 C.7.6.3.1.2), palettes are applied."""
    element = dataset.get_item("PixelData")
    if isinstance(element, RawDataElement) and isinstance(element.value, memoryview):
        dataset[element.tag] = element._replace(value=bytes(element.value))

    decoded = iterate_frames(dataset)
    while True:
        try:
            frame = next(decoded)
        except StopIteration:
            return
        except ExceedsMemory:
            raise
        except Unreadable as error:
            raise NoPicture(error.message, error.hint) from error
        except MemoryError as error:
            raise explain_memory_error() from error
        except DECODER_ERRORS as error:
            syntax = _read_transfer_syntax(dataset).name
            raise NoPicture(
                f"The pixel data cannot be decoded ({syntax}): {_extract_first_line(error)}",
                "Convert it with dcmdjpeg or gdcmconv, or send it again.",
            ) from error

        if photometric == PALETTE:
            frame = apply_color_lut(frame, dataset)  # PS3.3 C.7.9.2
        yield np.ascontiguousarray(frame) if frame.ndim == 2 else _reduce_to_8_bits(frame, dataset, photometric)


def _reduce_to_8_bits(frame: Array, dataset: Dataset, photometric: str) -> Array:
    """The most significant 8 bits of each sample of a colour frame."""
    if frame.dtype == np.uint8:
        return np.ascontiguousarray(frame)

    bits = 8 * frame.dtype.itemsize if photometric == PALETTE else int(dataset.get("BitsStored") or 16)
    return (frame.astype(np.uint32) >> max(0, bits - 8)).clip(0, 255).astype(np.uint8)


def _is_encapsulated(dataset: Dataset) -> bool:
    """Whether the frames lie in fragments (PS3.5 A.4)."""
    return _read_transfer_syntax(dataset) not in NATIVE_SYNTAXES


def _read_transfer_syntax(dataset: Dataset) -> UID:
    """Transfer Syntax UID; without meta information, that as which the file was read."""
    meta = getattr(dataset, "file_meta", None)
    uid = meta.get("TransferSyntaxUID") if meta else None
    if uid:
        return UID(uid)

    implicit, little_endian = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian


def _extract_first_line(error: Exception) -> str:
    """The first line of an error's message, else its name."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:MAX_MESSAGE_LENGTH]
