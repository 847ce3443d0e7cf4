"""The options of a run; their digest tells whether a picture exists already."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from etl.split import DEFAULT_RATIOS, DEFAULT_SEED, Ratios
from minipacs.errors import BadRequest

__all__ = ["RULES_VERSION", "Options", "WindowChoice", "parse_window"]

RULES_VERSION = 1
"""Version of the rendering rules: raised when the same object would give another picture."""


WindowKind = Literal["first", "all", "number", "lut", "explanation", "range", "given"]

KINDS_BY_NAME: tuple[WindowKind, ...] = ("first", "all", "range")
"""The kinds that people choose by their name alone."""


@dataclass(frozen=True, kw_only=True)
class WindowChoice:
    """Which windows to render."""

    kind: WindowKind = "first"
    """`number`, `lut` and `explanation` choose one of the header's; `range` is that of the frame."""

    number: int = 1
    """Of the window or the VOI LUT in the header, from 1."""

    explanation: str = ""
    """Window Center & Width Explanation, case-folded."""

    center: float = 0.0
    width: float = 0.0
    function: str = "LINEAR"
    """VOI LUT Function of the window that is given."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """All that decides which pictures a run makes and where they lie."""

    target: Path
    """PNGs lie below `target/<split>/<modality>/`."""

    window: str = "first"
    """As `parse_window` reads it."""

    bit_depth: int = 8
    """8: as shown on a screen; 16: modality values."""

    ratios: Ratios = DEFAULT_RATIOS
    seed: str = DEFAULT_SEED

    def __post_init__(self) -> None:
        if self.bit_depth not in (8, 16):
            raise BadRequest(f"A PNG has 8 or 16 bits, not {self.bit_depth}.", "8: as shown; 16: modality values.")
        parse_window(self.window)  # raises when it cannot be read

    @property
    def digest(self) -> str:
        """16 hexadecimal digits: the same digest promises the same pictures at the same place."""
        parts = (self.target, self.window.casefold(), self.bit_depth, self.ratios, self.seed, RULES_VERSION)
        return sha256(repr(parts).encode()).hexdigest()[:16]


def parse_window(text: str) -> WindowChoice:
    """Parse `first`, `all`, `range`, `lut`, `lut:2`, `2`, `40/400`, `40/400/SIGMOID`, or an explanation as `LUNG`.

    Raises `BadRequest` for a window by numbers that the Standard forbids.
    """
    word = text.strip().casefold()

    for kind in KINDS_BY_NAME:
        if word == kind:
            return WindowChoice(kind=kind)
    if word.isdecimal():
        return WindowChoice(kind="number", number=int(word))
    if word == "lut" or (word.startswith("lut:") and word[4:].isdecimal()):
        return WindowChoice(kind="lut", number=int(word[4:] or 1))

    parts = word.replace(",", "/").split("/")
    return _parse_window_numbers(parts) or WindowChoice(kind="explanation", explanation=word)


def _parse_window_numbers(parts: Sequence[str]) -> WindowChoice | None:
    """A window by its numbers: center, width and perhaps function; None when the parts are no numbers."""
    try:
        center, width = float(parts[0]), float(parts[1])
    except (ValueError, IndexError):
        return None

    function = parts[2].upper() if len(parts) > 2 else "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise BadRequest(f"{function} is no VOI LUT Function (PS3.3 C.11.2.1.3).", "LINEAR, LINEAR_EXACT or SIGMOID.")
    if width < 1 and (function == "LINEAR" or width <= 0):
        raise BadRequest(
            "Window Width must be ≥ 1 for LINEAR, > 0 otherwise (PS3.3 C.11.2.1.2).", "Give a larger width."
        )
    return WindowChoice(kind="given", center=center, width=width, function=function)
