"""A DICOM image to PNGs: one for each frame and window, and all that is needed to make it again."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import numpy as np
from isal import isal_zlib
from pydicom import Dataset

from etl.options import RULES, Options, choice
from etl.rendering.frames import frames, read_stored_format
from etl.rendering.png import encode
from etl.rendering.windows import select_windows
from minipacs.formats import grey_header
from minipacs.formats.grey import (
    Array,
    GreyPipeline,
    Lut,
    StoredFormat,
    Voi,
    Window,
    as_unsigned,
    grey_by_word,
    modality_range,
    window_of_range,
)

NAMESPACE = UUID("5d0b1ac2-7f0a-5a6c-9d1e-6a1f0e0c9b3d")
"""Of the names of PNGs: the same object, frame and window is the same file."""


@dataclass(frozen=True)
class Picture:
    """Pixels, and the columns of `rendering` that tell how they came about."""

    frame_number: int
    label: str
    """Which window: part of the file's name."""
    values: Array
    """(rows, columns) grey or words, or (rows, columns, 3) RGB."""
    facts: dict[str, Any]
    table: Array | None = None
    """Grey by word, when `values` are words."""

    @property
    def pixels(self) -> Array:
        """What the PNG shows."""
        return self.values if self.table is None else np.take(self.table, self.values, mode="clip")

    def png(self) -> bytes:
        """The PNG."""
        return encode(self.values, self.table)


def rendered(dataset: Dataset, options: Options, remarks: list[str], sums: list[int]) -> Iterator[Picture]:
    """Every frame through every window asked for. Remarks found on the way and a CRC-32 of all stored
    values are added to the lists.
    """
    for n, words in enumerate(frames(dataset)):
        sums[0] = isal_zlib.crc32(words, sums[0])
        if words.ndim == 3:
            yield Picture(n + 1, "colour", words, {"window_source": "none", "bit_depth": 8})
        else:
            yield from _grey(dataset, n, words, options, remarks)


def _grey(dataset: Dataset, n: int, words: Array, options: Options, remarks: list[str]) -> Iterator[Picture]:
    pipeline = grey_header.read_pipeline(dataset, n)
    stored = read_stored_format(dataset, words.dtype)
    if options.bit_depth == 16:
        yield _values(n, words, stored, pipeline)
        return
    windows, luts, wrong = grey_header.windows_and_luts(dataset, n)
    remarks += [remark for remark in wrong if remark not in remarks]
    chosen = select_windows(choice(options.window), windows, luts)
    for voi in chosen or [window_of_range(*modality_range(words, stored, pipeline))]:
        facts = {"bit_depth": 8, **_facts(pipeline, voi)}
        if stored.fits_table:
            yield Picture(n + 1, label(voi), as_unsigned(words), facts, grey_by_word(stored, pipeline, voi))
        else:
            yield Picture(n + 1, label(voi), pipeline.to_grey(stored.values(words), voi), facts)


def _values(n: int, words: Array, stored: StoredFormat, pipeline: GreyPipeline) -> Picture:
    """Modality values in 16 bits: exact for up to 16 bits stored, else scaled to the range of the frame."""
    facts: dict[str, Any] = {
        "bit_depth": 16,
        "window_source": "none",
        "modality_lut": pipeline.modality_lut is not None,
    }
    values = stored.values(words)
    if pipeline.modality_lut is not None:
        pixels, slope, intercept = pipeline.to_modality(values), 1.0, 0.0
    elif stored.fits_table:
        lowest = -(2.0 ** (stored.bits_stored - 1)) if stored.signed else 0.0
        pixels, slope, intercept = values - lowest, pipeline.slope, pipeline.intercept + pipeline.slope * lowest
    else:
        low, high = modality_range(words, stored, pipeline)
        slope, intercept = (high - low) / 65535 or 1.0, low
        pixels = np.floor((pipeline.to_modality(values) - low) / slope + 0.5)
    facts |= {"rescale_slope": slope, "rescale_intercept": intercept}
    return Picture(n + 1, "values", pixels.clip(0, 65535).astype(np.uint16), facts)


def label(voi: Voi) -> str:
    """The window's part in the name of the file."""
    if isinstance(voi, Lut):
        return f"lut:{voi.number}"
    if voi.source == "header":
        return f"window:{voi.number}"
    return "range" if voi.source == "computed" else f"{voi.center!r}/{voi.width!r}/{voi.function}"


def _facts(pipeline: GreyPipeline, voi: Voi) -> dict[str, Any]:
    facts: dict[str, Any] = {"inverted": pipeline.inverted, "modality_lut": pipeline.modality_lut is not None}
    if pipeline.modality_lut is None:
        facts |= {"rescale_slope": pipeline.slope, "rescale_intercept": pipeline.intercept}
    facts |= {"window_number": voi.number, "window_explanation": voi.explanation or None}
    if isinstance(voi, Window):
        facts |= {"window_center": voi.center, "window_width": voi.width, "voi_lut_function": voi.function}
        return {**facts, "window_source": voi.source}
    return {**facts, "window_source": "lut"}


def aspect(dataset: Dataset) -> float:
    """Height of a pixel divided by its width: Pixel Spacing, its kin, or Pixel Aspect Ratio (C.7.6.3.1.7)."""
    measures = grey_header.functional_group(dataset, 0, "PixelMeasuresSequence")
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        pair = grey_header.read_numbers(measures, keyword) or grey_header.read_numbers(dataset, keyword)
        if len(pair) == 2 and min(pair) > 0:
            return pair[0] / pair[1]
    return 1.0


def written(picture: Picture, sop_instance_uid: str, folder: Path, pixel_aspect: float) -> dict[str, Any]:
    """Write the PNG below `folder` under its name; the row of `rendering`, but for split and final path."""
    name = str(uuid5(NAMESPACE, f"{sop_instance_uid}/{picture.frame_number}/{picture.label}"))
    data = picture.png()
    (folder / name).write_bytes(data)
    return {
        **EMPTY,
        "rendering_id": name,
        "sop_instance_uid": sop_instance_uid,
        "frame_number": picture.frame_number,
        "sha256": sha256(data).hexdigest(),
        "bytes": len(data),
        "rows": picture.values.shape[0],
        "columns": picture.values.shape[1],
        "pixel_aspect": pixel_aspect,
        "rules": RULES,
        **picture.facts,
    }


EMPTY: dict[str, Any] = {
    **dict.fromkeys(("window_center", "window_width", "voi_lut_function", "window_number", "window_explanation")),
    **dict.fromkeys(("rescale_slope", "rescale_intercept")),
    "modality_lut": False,
    "inverted": False,
}
