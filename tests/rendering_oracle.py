"""What PS3.3 says a grey value is, written from its text, one value at a time, in exact arithmetic.

Shares no line with `etl`. The Standard leaves the way to whole grey levels open; ours, as DCMTK's, is to
cut the fraction.
"""

import math
from fractions import Fraction

F = Fraction


def linear(x: Fraction, c: Fraction, w: Fraction) -> Fraction:
    """C.11.2.1.2.1, with ymin 0 and ymax 255."""
    if x <= c - F(1, 2) - (w - 1) / 2:
        return F(0)
    if x > c - F(1, 2) + (w - 1) / 2:
        return F(255)
    return ((x - (c - F(1, 2))) / (w - 1) + F(1, 2)) * 255


def linear_exact(x: Fraction, c: Fraction, w: Fraction) -> Fraction:
    """C.11.2.1.3.2."""
    if x <= c - w / 2:
        return F(0)
    if x > c + w / 2:
        return F(255)
    return ((x - c) / w + F(1, 2)) * 255


def sigmoid(x: Fraction, c: Fraction, w: Fraction) -> float:
    """C.11.2.1.3.1, in float64: an exponential has no exact value."""
    exponent = float(-4 * (x - c) / w)
    return 255 / (1 + math.exp(exponent)) if exponent < 700 else 0.0


FUNCTIONS = {"LINEAR": linear, "LINEAR_EXACT": linear_exact, "SIGMOID": sigmoid}


def lut(x: Fraction, first: int, entries: list[int]) -> int:
    """C.11.1.1.1, C.11.2.1.1: below the first input value the first entry, beyond the last the last."""
    place = math.floor(x + F(1, 2)) - first
    return entries[min(max(place, 0), len(entries) - 1)]


def grey(y: Fraction | float, *, inverted: bool) -> int:
    """MONOCHROME1 (C.7.6.3.1.2): the minimum is white; the fraction is cut."""
    return math.floor(255 - y if inverted else y)
