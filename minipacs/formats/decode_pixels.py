"""Decodes pixels by pydicom's decoders, each frame only after what it claims was compared with what it may take.

Everything that decodes the pixels of a DICOM object decodes them here. The DICOM header is looked at first, then, for
each frame, the header within its compressed bytes (`codestream.py`): decoders take memory by that one.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import as_pixel_options, iter_pixels, pixel_array
from pydicom.uid import UID, RLELossless

from minipacs.errors import ExceedsMemory, Unreadable
from minipacs.formats.codestream import read_codestream_sizes
from minipacs.memory.size_limits import check_frame_size, check_volume_size, current_limits

__all__ = ["PIXEL_KEYWORDS", "check_pixel_claim", "decode_all_pixels", "iterate_frames", "read_frame_count"]

Array = np.ndarray[Any, Any]

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

BROKEN_FRAGMENT_ERRORS = (ValueError, TypeError, AttributeError, LookupError, OSError, EOFError, struct.error)
"""Fragments, or their offset tables, that are none break pydicom's reader in many ways."""

MAX_RLE_RATIO = 64
"""Two bytes of RLE are at most 128 (PS3.5 G.3.1)."""


def read_frame_count(dataset: Dataset) -> int:
    """Number of Frames (0028,0008); 1 when it is absent or broken."""
    try:
        return max(1, int(dataset.get("NumberOfFrames") or 1))
    except (ValueError, TypeError):
        return 1


def check_pixel_claim(dataset: Dataset) -> int:
    """The bytes a decoded frame takes, as the DICOM header claims; raises `ExceedsMemory` where that is too much."""
    rows, columns = _read_number(dataset, "Rows"), _read_number(dataset, "Columns")
    samples = _read_number(dataset, "SamplesPerPixel") or 1
    word = max(1, -(-_read_number(dataset, "BitsAllocated") // 8))
    if "DoubleFloatPixelData" in dataset:
        word = 8

    frame_bytes = rows * columns * samples * word
    check_frame_size(frame_bytes, f"A frame of {rows} × {columns} × {samples} values")
    return frame_bytes


def iterate_frames(dataset: Dataset) -> Iterator[Array]:
    """Yield each frame, decoded by pydicom (colour as RGB), so that memory holds one.

    Raises `ExceedsMemory` or `Unreadable` before a frame is decoded that claims too much; else as pydicom does.
    """
    check_pixel_claim(dataset)
    encoded = _iterate_encoded_frames(dataset)
    decoded = iter_pixels(dataset, raw=False, decoding_plugin=_choose_plugin(dataset))

    while True:
        _check_next_codestream(encoded, dataset)
        try:
            frame = next(decoded)
        except StopIteration:
            return
        yield frame


def decode_all_pixels(dataset: Dataset) -> Array:
    """All pixels as one array, as `pydicom.pixels.pixel_array` has them; for objects of one or few frames.

    Raises `ExceedsMemory` or `Unreadable` before anything is decoded that claims too much; else as pydicom does.
    """
    frame_bytes = check_pixel_claim(dataset)
    check_volume_size(frame_bytes * read_frame_count(dataset), "The image")

    encoded = _iterate_encoded_frames(dataset)
    while _check_next_codestream(encoded, dataset):
        continue

    return pixel_array(dataset, decoding_plugin=_choose_plugin(dataset))


def _check_next_codestream(encoded: Iterator[bytes], dataset: Dataset) -> bool:
    """Compare what the next compressed frame claims with the DICOM header; whether there was one.

    Where the fragments themselves are broken, the decoder that meets them next says how.
    """
    try:
        frame = next(encoded, None)
    except BROKEN_FRAGMENT_ERRORS:
        return False
    if frame is None:
        return False

    sizes = read_codestream_sizes(frame, _read_transfer_syntax(dataset))
    if sizes is None:
        return True
    if not sizes:
        raise Unreadable("A compressed frame does not say how large it is (PS3.5 8.2).", "Send the object again.")

    rows, columns = _read_number(dataset, "Rows"), _read_number(dataset, "Columns")
    values = rows * columns * (_read_number(dataset, "SamplesPerPixel") or 1)
    for size in sizes:
        what = f"A compressed frame of {size.rows} × {size.columns} × {size.samples} values"
        check_frame_size(size.decoded_bytes, what)
        if not 0 < size.values <= values:
            raise ExceedsMemory(
                f"{what} claims another size than its object, {rows} × {columns} (PS3.5 8.2.1).",
                "Send the object again.",
            )
    return True


def _iterate_encoded_frames(dataset: Dataset) -> Iterator[bytes]:
    """The compressed frames, one after the other; none of an object that is not compressed."""
    syntax = UID(_read_transfer_syntax(dataset))
    if not syntax.is_transfer_syntax or not syntax.is_encapsulated:
        return

    options = as_pixel_options(dataset)
    yield from generate_frames(
        dataset.PixelData,
        number_of_frames=options["number_of_frames"],
        extended_offsets=options.get("extended_offsets"),
    )


def _choose_plugin(dataset: Dataset) -> str:
    """The decoder that must be used; empty where any may.

    pydicom's own decoder of RLE, which is tried after the other one, unpacks whatever a segment holds.
    """
    if _read_transfer_syntax(dataset) != RLELossless:
        return ""
    unpacked = MAX_RLE_RATIO * len(dataset.get("PixelData") or b"")
    return "pylibjpeg" if unpacked > current_limits().frame_bytes else ""


def _read_transfer_syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return str(meta.get("TransferSyntaxUID") or "") if meta else ""


def _read_number(dataset: Dataset, keyword: str) -> int:
    """A number of the header, 0 when it is absent or broken."""
    try:
        return max(0, int(dataset.get(keyword) or 0))
    except (ValueError, TypeError):
        return 0
