"""What a run of the catalogue was asked for; its digest tells whether a picture exists already."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from etl.split import SEED
from minipacs.errors import BadRequest

RULES = 1
"""Version of the rendering rules: raised when the same object would give another picture."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which windows to render: one of the header's by number or explanation, a LUT, all, the range, or one given."""

    kind: str = "first"
    """first, all, number, lut, explanation, range or given."""
    number: int = 1
    explanation: str = ""
    center: float = 0.0
    width: float = 0.0
    function: str = "LINEAR"


@dataclass(frozen=True, kw_only=True)
class Options:
    """One value for everything that decides which pictures a run makes and where they lie."""

    target: Path
    """PNGs lie below `target/<split>/<modality>/`."""
    window: str = "first"
    bit_depth: int = 8
    ratios: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: str = SEED

    def __post_init__(self) -> None:
        if self.bit_depth not in (8, 16):
            raise BadRequest(f"A PNG has 8 or 16 bits, not {self.bit_depth}.", "8: as shown; 16: modality values.")
        choice(self.window)  # raises when it cannot be read

    @property
    def digest(self) -> str:
        """The same digest promises the same pictures at the same place."""
        said = (self.target, self.window.casefold(), self.bit_depth, self.ratios, self.seed, RULES)
        return sha256(repr(said).encode()).hexdigest()[:16]


def choice(text: str) -> Choice:
    """`first`, `all`, `range`, `lut`, `lut:2`, `2`, `40/400`, `40/400/SIGMOID`, or an explanation such as `LUNG`."""
    word = text.strip().casefold()
    if word in ("first", "all", "range"):
        return Choice(kind=word)
    if word.isdecimal():
        return Choice(kind="number", number=int(word))
    if word == "lut" or (word.startswith("lut:") and word[4:].isdecimal()):
        return Choice(kind="lut", number=int(word[4:] or 1))
    parts = word.replace(",", "/").split("/")
    return _given(parts) or Choice(kind="explanation", explanation=word)


def _given(parts: Sequence[str]) -> Choice | None:
    """A window by hand: center / width / function."""
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
    return Choice(kind="given", center=center, width=width, function=function)
