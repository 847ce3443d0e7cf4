"""Which of a frame's windows are rendered."""

from collections.abc import Sequence

from etl.options import WindowChoice
from minipacs.formats.grey import Lut, Voi, Window

__all__ = ["select_windows"]


def select_windows(choice: WindowChoice, windows: Sequence[Window], luts: Sequence[Lut]) -> list[Voi]:
    """Those of a frame's windows that were chosen, else its first; empty when the range is to be computed."""
    if choice.kind == "given":
        return [Window(choice.center, choice.width, choice.function, "given")]
    if choice.kind == "range":
        return []

    every: list[Voi] = [*windows, *luts]
    if choice.kind == "all":
        return every

    matching: list[Voi] = []
    if choice.kind == "number":
        matching = [window for window in windows if window.number == choice.number]
    elif choice.kind == "lut":
        matching = [lut for lut in luts if lut.number == choice.number]
    elif choice.kind == "explanation":
        matching = [voi for voi in every if voi.explanation.casefold() == choice.explanation]
    return (matching or every)[:1]
