"""What a person marks in an image: points and boxes in patient coordinates (LPS, mm; PS3.3 C.7.6.2.1.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Position = tuple[float, float, float]
"""A point in patient coordinates: LPS, mm."""


@dataclass(frozen=True)
class Point:
    """A click: a positive point belongs to the segment, a negative one does not."""

    position: Position
    positive: bool = True
    label: str = ""
    """Which segment is meant, where an engine knows several; empty: the only one."""


@dataclass(frozen=True)
class Box:
    """Two opposite corners of a box with edges along the volume's axes; equal corners along one axis: a rectangle."""

    corner: Position
    opposite: Position
    label: str = ""


Prompt = Point | Box


def parse_prompt(value: Mapping[str, Any]) -> Prompt:
    """A prompt from its JSON: {"point": [x, y, z], "positive": true} or {"box": [[x, y, z], [x, y, z]]}; LPS mm."""
    label = str(value.get("label", ""))

    if "box" in value:
        corner, opposite = value["box"]
        return Box(_parse_position(corner), _parse_position(opposite), label)

    return Point(_parse_position(value["point"]), bool(value.get("positive", True)), label)


def _parse_position(values: Sequence[float]) -> Position:
    x, y, z = values
    return float(x), float(y), float(z)
