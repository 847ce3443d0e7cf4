"""What stands in a request of the older client, checked: a file, and prompts in its pixels."""

import base64
import json
from collections.abc import Mapping
from typing import Any, cast

from minipacs.errors import BadRequest, WrongPrompts
from segmentation.engines.geodesic.plane_cut import Clues, Pixel, Rectangle
from segmentation.prompting.request import MOST_PROMPTS

FARTHEST = 1e7
"""No number of a prompt is larger, pixels."""


def body(request: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The file and the prompts of a request, as the front door hands them over."""
    try:
        asked = json.loads(str(request.get("asked") or "{}"))
    except (ValueError, RecursionError) as error:
        raise BadRequest("The prompts are not JSON.", "Send them in the form field `sam_input`.") from error
    if not isinstance(asked, dict):
        raise BadRequest("The prompts are not a JSON object.", "Send them in the form field `sam_input`.")
    return base64.b64decode(str(request.get("file") or "")), asked


def clues(asked: Mapping[str, Any], shape: tuple[int, int]) -> Clues:
    """The prompts of the older client: `rectangles`, `positive_points`, `negative_points`; pixels from the corner.

    Negative points alone leave the rest of the picture: as if a rectangle had been drawn around it.
    """
    boxes = tuple(_rectangle(r, shape) for r in _list(asked, "rectangles"))
    positive = tuple(_pixel(p, shape) for p in _list(asked, "positive_points"))
    negative = tuple(_pixel(p, shape) for p in _list(asked, "negative_points"))
    if not (boxes or positive or negative):
        raise WrongPrompts("There is no rectangle and no point.", "Draw a rectangle, or click on what is wanted.")
    if not (boxes or positive):
        boxes = ((0, 0, shape[0] - 1, shape[1] - 1),)
    return Clues(boxes, positive, negative)


def _list(asked: Mapping[str, Any], name: str) -> list[Any]:
    found = asked.get(name) or []
    if not isinstance(found, list) or len(found) > MOST_PROMPTS:
        raise WrongPrompts(f"`{name}` is not a list of at most {MOST_PROMPTS}.", "Correct it.")
    return found


def _numbers(value: Any, *names: str) -> list[float]:
    found = [value.get(name) if isinstance(value, dict) else None for name in names]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < FARTHEST for n in found):
        raise WrongPrompts(f"A prompt lacks one of the numbers {', '.join(names)}.", "Correct it.")
    return [float(cast(float, n)) for n in found]


def _pixel(value: Any, shape: tuple[int, int]) -> Pixel:
    x, y = _numbers(value, "x", "y")
    if not (0 <= x < shape[1] and 0 <= y < shape[0]):
        raise WrongPrompts(
            f"The point {x:g}, {y:g} lies outside of the picture of {shape[1]} × {shape[0]}.", "Correct it."
        )
    return int(y), int(x)


def _rectangle(value: Any, shape: tuple[int, int]) -> Rectangle:
    x, y, width, height = _numbers(value, "startX", "startY", "width", "height")
    left, right = sorted((x, x + width))  # drawn towards any side
    top, bottom = sorted((y, y + height))
    if right <= 0 or bottom <= 0 or left >= shape[1] or top >= shape[0] or right - left < 2 or bottom - top < 2:
        raise WrongPrompts("A rectangle lies outside of the picture, or is narrower than two pixels.", "Correct it.")
    return max(0, int(top)), max(0, int(left)), min(shape[0] - 1, int(bottom)), min(shape[1] - 1, int(right))
