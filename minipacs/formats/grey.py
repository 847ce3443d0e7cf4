"""The grey pipeline of PS3.3 C.11 as pure functions on float64: modality → VOI → presentation → 8 bit.

A frame of up to 16 bits has at most 65536 stored values: the pipeline is computed once for those
(`build_grey_table`) and the frame is looked up in it. So exactness costs nothing per pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
WHITE = 255.0
ROUNDING_GUARD = 1e-6
"""Added before the fraction is cut: what is whole in exact arithmetic stays whole in float64. A sigmoid never is."""


@dataclass(frozen=True)
class StoredFormat:
    """How a stored value lies in its word (PS3.5 8.1.1)."""

    dtype: str
    """Kind and size of a decoded word as numpy names it: u1, u2, i2, u4, f4, …"""
    bits_stored: int
    shift: int = 0
    """Bits below the value: High Bit + 1 − Bits Stored."""
    signed: bool = False
    masked: bool = False
    """Whether other bits of the word may hold something else (native words: overlays of old)."""

    @property
    def fits_table(self) -> bool:
        """Whether one table can have an entry for every word."""
        return self.dtype[1:] in ("1", "2") and self.dtype[0] in "ui"

    def decode(self, words: Array) -> Array:
        """Stored values of words, as float64: shifted, masked, sign-extended."""
        if self.dtype[0] == "f":
            real = words.astype(np.float64)
            return np.asarray(np.where(np.isnan(real), -np.inf, real))  # no number: black
        values = words.astype(np.int64)
        if self.masked:
            values = (values >> self.shift) & ((1 << self.bits_stored) - 1)
        if self.signed:  # PS3.5 8.1.1: two's complement, the sign in the highest bit stored
            high = 1 << (self.bits_stored - 1)
            values = np.where((values >= high) & (values < 2 * high), values - 2 * high, values)
        return values.astype(np.float64)


@dataclass(frozen=True)
class Lut:
    """A Modality or VOI LUT (PS3.3 C.11.1.1.1, C.11.2.1.1)."""

    first: int
    """First input value mapped."""
    bits: int
    """Bits of an entry."""
    entries: bytes
    """uint16, little endian."""
    explanation: str = ""
    number: int = 1

    def apply(self, x: Array) -> Array:
        """Below the first input value: the first entry; beyond the last: the last (C.11.1.1.1)."""
        entries = np.frombuffer(self.entries, "<u2").astype(np.float64)
        place = np.clip(np.floor(x + 0.5) - self.first, 0, len(entries) - 1)
        return np.asarray(entries[place.astype(np.int64)])


@dataclass(frozen=True)
class Window:
    """Window Center, Window Width and VOI LUT Function (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

    center: float
    width: float
    function: str = "LINEAR"
    source: str = "header"
    """header, given or computed."""
    number: int | None = None
    explanation: str = ""

    @property
    def is_valid(self) -> bool:
        """C.11.2.1.2.1: Width shall be ≥ 1 for LINEAR; C.11.2.1.3: > 0 for the other functions."""
        finite = np.isfinite(self.center) and np.isfinite(self.width)
        return bool(finite and (self.width >= 1 if self.function == "LINEAR" else self.width > 0))


Voi = Window | Lut


@dataclass(frozen=True)
class GreyPipeline:
    """The steps from stored values to grey, as the header of a frame says."""

    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: Lut | None = None
    inverted: bool = False
    padding: tuple[float, float] | None = None
    """Stored values from … to, which are no part of the picture (C.7.5.1.1.2)."""

    def to_modality(self, stored: Array) -> Array:
        """Stored values → modality values, for example HU."""
        if self.modality_lut is not None:
            return self.modality_lut.apply(stored)  # PS3.3 C.11.1.1.1
        return stored * self.slope + self.intercept  # PS3.3 C.11.1.1.2: U = m·SV + b

    def to_grey(self, stored: Array, voi: Voi) -> Array:
        """Stored values → 0…255, uint8: the fraction is cut, as DCMTK cuts it."""
        y = apply_voi(self.to_modality(stored), voi)
        if self.inverted:  # PS3.3 C.7.6.3.1.2 MONOCHROME1: the minimum is white, after VOI; C.11.6.1.2 INVERSE
            y = WHITE - y
        exact = isinstance(voi, Lut) or voi.function != "SIGMOID"
        return np.floor(y + ROUNDING_GUARD if exact else y).astype(np.uint8)


def linear(x: Array, c: float, w: float) -> Array:
    """PS3.3 C.11.2.1.2.1."""
    y = ((x - (c - 0.5)) / (w - 1) + 0.5) * WHITE if w > 1 else np.zeros_like(x)
    y = np.where(x <= c - 0.5 - (w - 1) / 2, 0.0, y)
    return np.asarray(np.where(x > c - 0.5 + (w - 1) / 2, WHITE, y))


def linear_exact(x: Array, c: float, w: float) -> Array:
    """PS3.3 C.11.2.1.3.2."""
    y = ((x - c) / w + 0.5) * WHITE
    y = np.where(x <= c - w / 2, 0.0, y)
    return np.asarray(np.where(x > c + w / 2, WHITE, y))


def sigmoid(x: Array, c: float, w: float) -> Array:
    """PS3.3 C.11.2.1.3.1."""
    with np.errstate(over="ignore"):  # exp → ∞ is y → 0
        return np.asarray(WHITE / (1.0 + np.exp(-4.0 * (x - c) / w)))


FUNCTIONS: dict[str, Callable[[Array, float, float], Array]] = {
    "LINEAR": linear,
    "LINEAR_EXACT": linear_exact,
    "SIGMOID": sigmoid,
}


def apply_voi(x: Array, voi: Voi) -> Array:
    """Modality values → 0…255, float64."""
    if isinstance(voi, Lut):  # PS3.3 C.11.2.1.1: entries are from 0 to 2^bits − 1; their 8 highest bits are shown
        return np.asarray(np.floor(voi.apply(x) * (256 / 2**voi.bits)).clip(0, WHITE))
    return FUNCTIONS[voi.function](x, voi.center, voi.width)


def render_values(values: Array, window: Window, *, inverted: bool = False) -> Array:
    """Modality values through a window: 0…255, uint8. `inverted`: low values are white."""
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    stored = StoredFormat(native.dtype.str[1:], 8 * native.dtype.itemsize, signed=native.dtype.kind == "i")
    pipeline = GreyPipeline(inverted=inverted)
    if stored.fits_table:
        return build_grey_table(stored, pipeline, window)[as_unsigned(native)]
    return pipeline.to_grey(stored.decode(native), window)


def window_of_range(low: float, high: float) -> Window:
    """The window under which LINEAR maps low to black and high to white; OHIF's default where there is none."""
    return Window((low + high + 1) / 2, high - low + 1, "LINEAR", "computed")


@lru_cache(maxsize=16)
def decode_all_words(stored: StoredFormat) -> tuple[Array, Array | None]:
    """Every possible stored value, and for each word the index of its value (None: the word is the index)."""
    size = int(stored.dtype[1:])
    words = np.arange(2 ** (8 * size), dtype=f"u{size}")
    if not stored.masked:
        return stored.decode(words.view(stored.dtype)), None
    codes = np.arange(1 << stored.bits_stored, dtype=f"u{size}")
    plain = replace(stored, shift=0)
    return plain.decode(codes), (words >> stored.shift) & ((1 << stored.bits_stored) - 1)


@lru_cache(maxsize=32)
def build_grey_table(stored: StoredFormat, pipeline: GreyPipeline, voi: Voi) -> Array:
    """A table of grey values, uint8, indexed by word (as an unsigned number): the pipeline, once for every value."""
    values, places = decode_all_words(stored)
    grey = pipeline.to_grey(values, voi)
    return grey if places is None else grey.take(places)


def as_unsigned(words: Array) -> Array:
    """The words as unsigned numbers, with which a table is indexed."""
    return words.view(f"u{words.dtype.itemsize}")


def find_modality_range(words: Array, stored: StoredFormat, pipeline: GreyPipeline) -> tuple[float, float]:
    """Lowest and highest modality value of a frame, without padding (C.7.5.1.1.2) and what is no number."""
    values = stored.decode(_select_words_with_extremes(words, stored, pipeline))
    if pipeline.padding is not None:
        low, high = pipeline.padding
        real = values[(values < low) | (values > high)]
        values = real if real.size else values
    modality = pipeline.to_modality(values[np.isfinite(values)])
    return (float(modality.min()), float(modality.max())) if modality.size else (0.0, 0.0)


def _select_words_with_extremes(words: Array, stored: StoredFormat, pipeline: GreyPipeline) -> Array:
    """Words among which are the extremes of a frame: two when the pipeline is a line, else all that occur."""
    low, high = words.min(), words.max()
    line = pipeline.padding is None and pipeline.modality_lut is None and stored.dtype[0] != "f"
    clean = not stored.masked or (stored.shift == 0 and low >= 0 and high < 1 << (stored.bits_stored - stored.signed))
    same = not stored.signed or words.dtype.kind == "i"
    if line and clean and same:
        return np.array([low, high], words.dtype)
    if stored.fits_table:
        present = np.flatnonzero(np.bincount(as_unsigned(words).ravel()))
        return present.astype(f"u{words.dtype.itemsize}").view(words.dtype)
    return np.unique(words)
