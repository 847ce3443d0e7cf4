"""A DICOM image to pictures: every frame through every window that the options ask for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from etl.options import Options, parse_window
from etl.rendering.frames import decode_frames, read_stored_format
from etl.rendering.png import encode_png
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
    build_grey_table,
    find_modality_range,
    window_of_range,
)

__all__ = ["Picture", "Provenance", "RenderedFrame", "read_pixel_aspect", "render_frames"]

MAX_16_BIT = 65535

ASPECT_KEYWORDS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
"""What tells the shape of a pixel, as (vertical, horizontal); the first that is there counts."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How the pixels of a picture came about: columns of the table `rendering`."""

    bit_depth: int
    window_source: str
    window_center: float | None = None
    window_width: float | None = None
    voi_lut_function: str | None = None
    window_number: int | None = None
    window_explanation: str | None = None
    rescale_slope: float | None = None
    rescale_intercept: float | None = None
    modality_lut: bool = False
    inverted: bool = False


@dataclass(frozen=True)
class Picture:
    """What one PNG shows."""

    frame_number: int
    """From 1."""

    label: str
    """Which window it is: part of what the PNG's name is derived from, so it must never change."""

    values: Array
    """(rows, columns) grey or words, or (rows, columns, 3) RGB; uint8 or uint16."""

    provenance: Provenance

    table: Array | None = None
    """Grey by word, uint8, when `values` are words."""

    @property
    def pixels(self) -> Array:
        """The pixels of the PNG."""
        return self.values if self.table is None else np.take(self.table, self.values, mode="clip")

    def as_png(self) -> bytes:
        """Encode the PNG."""
        return encode_png(self.values, self.table)


@dataclass(frozen=True)
class RenderedFrame:
    """A frame and its pictures."""

    words: Array
    """What was decoded: words of stored values, or RGB."""

    pictures: list[Picture]

    remarks: list[str]
    """What is wrong with the frame's windows, in sentences."""


def render_frames(dataset: Dataset, options: Options) -> Iterator[RenderedFrame]:
    """Render one frame after the other, so that memory holds one. Raises `NoPicture` at a frame that has none."""
    for index, words in enumerate(decode_frames(dataset)):
        if words.ndim == 3:
            provenance = Provenance(bit_depth=8, window_source="none")
            yield RenderedFrame(words, [Picture(index + 1, "colour", words, provenance)], [])
        elif options.bit_depth == 16:
            yield RenderedFrame(words, [_render_modality_values(dataset, index, words)], [])
        else:
            yield _render_grey(dataset, index, words, options)


def _render_grey(dataset: Dataset, index: int, words: Array, options: Options) -> RenderedFrame:
    """A grey frame (from 0) in 8 bits, through each window asked for, else over its full range."""
    pipeline = grey_header.read_pipeline(dataset, index)
    stored = read_stored_format(dataset, words.dtype)

    windows, luts, remarks = grey_header.read_windows_and_luts(dataset, index)
    selected = select_windows(parse_window(options.window), windows, luts)
    if not selected:
        selected = [window_of_range(*find_modality_range(words, stored, pipeline))]

    pictures = []
    for voi in selected:
        label, provenance = _make_window_label(voi), _make_provenance(pipeline, voi)
        if stored.fits_table:
            table = build_grey_table(stored, pipeline, voi)
            pictures.append(Picture(index + 1, label, as_unsigned(words), provenance, table))
        else:
            grey = pipeline.to_grey(stored.decode(words), voi)
            pictures.append(Picture(index + 1, label, grey, provenance))

    return RenderedFrame(words, pictures, remarks)


def _render_modality_values(dataset: Dataset, index: int, words: Array) -> Picture:
    """Modality values of a grey frame (from 0) in 16 bits.

    They are exact for up to 16 bits stored, else scaled to the range of the frame.
    """
    pipeline = grey_header.read_pipeline(dataset, index)
    stored = read_stored_format(dataset, words.dtype)
    pixels, slope, intercept = _scale_to_16_bits(words, stored, pipeline)

    provenance = Provenance(
        bit_depth=16,
        window_source="none",
        modality_lut=pipeline.modality_lut is not None,
        rescale_slope=slope,
        rescale_intercept=intercept,
    )
    return Picture(index + 1, "values", pixels.clip(0, MAX_16_BIT).astype(np.uint16), provenance)


def _scale_to_16_bits(words: Array, stored: StoredFormat, pipeline: GreyPipeline) -> tuple[Array, float, float]:
    """Pixels, slope and intercept, such that modality value = pixel × slope + intercept."""
    values = stored.decode(words)

    if pipeline.modality_lut is not None:
        return pipeline.to_modality(values), 1.0, 0.0

    if stored.fits_table:
        lowest = -(2.0 ** (stored.bits_stored - 1)) if stored.signed else 0.0
        return values - lowest, pipeline.slope, pipeline.intercept + pipeline.slope * lowest

    low, high = find_modality_range(words, stored, pipeline)
    slope = (high - low) / MAX_16_BIT or 1.0
    return np.floor((pipeline.to_modality(values) - low) / slope + 0.5), slope, low


def _make_window_label(voi: Voi) -> str:
    """The window's part of a picture's label."""
    if isinstance(voi, Lut):
        return f"lut:{voi.number}"
    if voi.source == "header":
        return f"window:{voi.number}"
    if voi.source == "computed":
        return "range"
    return f"{voi.center!r}/{voi.width!r}/{voi.function}"


def _make_provenance(pipeline: GreyPipeline, voi: Voi) -> Provenance:
    """How a grey picture of 8 bits came about."""
    window = voi if isinstance(voi, Window) else None
    has_lut = pipeline.modality_lut is not None

    return Provenance(
        bit_depth=8,
        window_source=window.source if window else "lut",
        window_center=window.center if window else None,
        window_width=window.width if window else None,
        voi_lut_function=window.function if window else None,
        window_number=voi.number,
        window_explanation=voi.explanation or None,
        rescale_slope=None if has_lut else pipeline.slope,
        rescale_intercept=None if has_lut else pipeline.intercept,
        modality_lut=has_lut,
        inverted=pipeline.inverted,
    )


def read_pixel_aspect(dataset: Dataset) -> float:
    """Height of a pixel divided by its width (PS3.3 C.7.6.3.1.7); 1 when the object does not say."""
    measures = grey_header.find_functional_group(dataset, 0, "PixelMeasuresSequence")

    for keyword in ASPECT_KEYWORDS:
        pair = grey_header.read_numbers(measures, keyword) or grey_header.read_numbers(dataset, keyword)
        if len(pair) == 2 and min(pair) > 0:
            return pair[0] / pair[1]
    return 1.0
