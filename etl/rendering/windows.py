"""Which of a frame's windows are rendered."""

from collections.abc import Sequence

from etl.options import Choice
from minipacs.formats.grey import Lut, Voi, Window


def select_windows(choice: Choice, windows: Sequence[Window], luts: Sequence[Lut]) -> list[Voi]:
    """Those of a frame's windows that were asked for; empty: none fits, the range is to be computed."""
    every: list[Voi] = [*windows, *luts]
    if choice.kind == "given":
        return [Window(choice.center, choice.width, choice.function, "given")]
    if choice.kind == "range":
        return []
    if choice.kind == "all":
        return every
    wanted: list[Voi] = []
    if choice.kind == "number":
        wanted = [w for w in windows if w.number == choice.number]
    elif choice.kind == "lut":
        wanted = [lut for lut in luts if lut.number == choice.number]
    elif choice.kind == "explanation":
        wanted = [v for v in every if v.explanation.casefold() == choice.explanation]
    return (wanted or every)[:1]
