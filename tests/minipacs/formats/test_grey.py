"""Grey values equal an oracle in exact arithmetic, for every stored value there is."""

import math
from fractions import Fraction

import numpy as np
import pytest

import rendering_oracle as oracle
from minipacs.formats.grey import (
    GreyPipeline,
    Lut,
    StoredFormat,
    Voi,
    Window,
    build_grey_table,
    decode_all_words,
    find_modality_range,
    linear,
    render_values,
    window_of_range,
)

TWELVE = StoredFormat("u2", 12, masked=True)
SIGNED = StoredFormat("i2", 12, signed=True, masked=True)
BYTE = StoredFormat("u1", 8)
CT = GreyPipeline(1.0, -1024.0)


def expected(stored: StoredFormat, pipeline: GreyPipeline, window: Window) -> np.ndarray:
    """Grey by stored value, by the oracle."""
    c, w = Fraction(window.center), Fraction(window.width)
    slope, intercept = Fraction(pipeline.slope), Fraction(pipeline.intercept)
    of = oracle.FUNCTIONS[window.function]
    values = [int(v) for v in decode_all_words(stored)[0]]
    return np.array([oracle.grey(of(v * slope + intercept, c, w), inverted=pipeline.inverted) for v in values])


def ours(stored: StoredFormat, pipeline: GreyPipeline, voi: Voi) -> np.ndarray:
    """Grey by stored value, by the product."""
    return pipeline.to_grey(decode_all_words(stored)[0], voi)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("stored", [BYTE, TWELVE, SIGNED])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(
    ("center", "width"), [(40, 400), (-600, 1500), (40.5, 33.25), (128, 256), (0, 1), (2048, 4096)]
)
def test_every_grey_value_is_the_oracle_s(
    center: float, width: float, function: str, stored: StoredFormat, inverted: bool
) -> None:
    pipeline = GreyPipeline(1.0, -1024.0 if stored is TWELVE else 0.0, inverted=inverted)
    window = Window(center, width, function)
    np.testing.assert_array_equal(ours(stored, pipeline, window), expected(stored, pipeline, window))


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 0.25), (7.8393163681, 0.0), (-1.0, 4095.0), (0.0123, -3.5)])
def test_fractional_and_negative_slopes_stay_exact(slope: float, intercept: float) -> None:
    pipeline, window = GreyPipeline(slope, intercept), Window(378, 465)
    np.testing.assert_array_equal(ours(TWELVE, pipeline, window), expected(TWELVE, pipeline, window))


def test_the_worked_example_of_the_standard() -> None:
    """PS3.3 C.11.2.1.2.1, NOTE 3: c=2048, w=4096 → 0 → ymin, 4095 → ymax; c=2048, w=1 → all ≤ 2047 → ymin."""
    x = np.array([0.0, 4095.0])
    assert linear(x, 2048, 4096).tolist() == [0.0, 255.0]
    assert linear(np.array([2047.0, 2048.0]), 2048, 1).tolist() == [0.0, 255.0]
    assert linear(np.array([0.0, 100.0]), 0, 100)[1] == 255.0
    assert linear(np.array([0.0, 1.0]), 0, 1).tolist() == [255.0, 255.0]


def test_a_byte_shown_over_its_full_range_is_itself() -> None:
    grey = ours(BYTE, GreyPipeline(), window_of_range(0, 255))
    assert grey.tolist() == list(range(256))


def test_a_voi_lut_shows_the_eight_highest_bits_and_clamps_at_its_ends() -> None:
    entries = [0, 16, 1000, 4095]
    lut = Lut(first=-2, bits=12, entries=np.array(entries, "<u2").tobytes())
    x = np.array([-9.0, -2.0, -1.0, 0.0, 1.0, 2.0, 99.0])
    wanted = [oracle.lut(Fraction(v), -2, entries) >> 4 for v in x]
    assert GreyPipeline().to_grey(x, lut).tolist() == wanted == [0, 0, 1, 62, 255, 255, 255]
    assert GreyPipeline(inverted=True).to_grey(x, lut).tolist() == [255 - v for v in wanted]


def test_a_modality_lut_takes_the_place_of_slope_and_intercept() -> None:
    lut = Lut(first=0, bits=16, entries=np.array([10, 20, 300], "<u2").tobytes())
    pipeline = GreyPipeline(slope=5, intercept=7, modality_lut=lut)
    assert pipeline.to_modality(np.array([-1.0, 0, 1, 2, 3])).tolist() == [10, 10, 20, 300, 300]


def test_the_table_of_words_ignores_bits_beside_the_value() -> None:
    """Overlays of old lie above the value (PS3.5 8.1.2): they change nothing."""
    stored = StoredFormat("u2", 10, shift=2, masked=True)
    by_word = build_grey_table(stored, GreyPipeline(), window_of_range(0, 1023))
    assert len(by_word) == 65536
    for value in (0, 1, 511, 1023):
        word = (value << 2) | 0b1111_0000_0000_0011
        assert by_word[word] == math.floor(value * 255 / 1023 + 1e-9)


def test_signed_words_are_found_by_their_bits() -> None:
    by_word = build_grey_table(SIGNED, GreyPipeline(), window_of_range(-2048, 2047))
    assert by_word[np.array([-2048, -1, 0, 2047], "i2").view("u2")].tolist() == [0, 127, 127, 255]


@pytest.mark.parametrize("stored", [TWELVE, StoredFormat("u2", 16), StoredFormat("i2", 16, signed=True)])
def test_the_computed_range_is_that_of_modality_values_without_padding(stored: StoredFormat) -> None:
    words = np.array([[5, 7, 2000], [9, 100, 2000]], stored.dtype)
    assert find_modality_range(words, stored, CT) == (-1019.0, 976.0)
    padded = GreyPipeline(1.0, -1024.0, padding=(2000.0, 2000.0))
    assert find_modality_range(words, stored, padded) == (-1019.0, -924.0)
    assert find_modality_range(words, stored, GreyPipeline(-1.0, 0.0)) == (-2000.0, -5.0)


def test_a_frame_of_nothing_but_padding_has_a_range_all_the_same() -> None:
    words = np.full((2, 3), 7, "u2")
    assert find_modality_range(words, StoredFormat("u2", 16), GreyPipeline(padding=(7.0, 7.0))) == (7.0, 7.0)


def test_what_is_no_number_is_black() -> None:
    stored = StoredFormat("f4", 32)
    words = np.array([[np.nan, 0.0, 1.0]], "f4")
    assert find_modality_range(words, stored, GreyPipeline()) == (0.0, 1.0)
    assert GreyPipeline().to_grey(stored.decode(words), Window(0.5, 1.0, "LINEAR_EXACT")).tolist() == [[0, 0, 255]]


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", ">i2", "i4", "f4"])
def test_modality_values_at_hand_are_shown_as_those_of_a_header_are(dtype: str, inverted: bool) -> None:
    values = np.arange(0, 120, 0.5 if dtype == "f4" else 1).reshape(10, -1).astype(dtype)[:, ::2]
    shown = render_values(values, Window(40.5, 33.25), inverted=inverted)
    wanted = [oracle.grey(oracle.linear(Fraction(float(v)), 40.5, 33.25), inverted=inverted) for v in values.ravel()]
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown.ravel(), wanted)
