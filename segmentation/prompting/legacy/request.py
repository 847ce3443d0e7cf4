"""What stands in a request of the older client, checked: a file, and prompts in its pixels."""

import base64
import json
from collections.abc import Mapping
from typing import Any, cast

from minipacs.errors import BadRequest, WrongPrompts
from segmentation.prompter import Pixel, Rectangle, SlicePrompts
from segmentation.prompting.request import MAX_NUMBER, MAX_PROMPTS

MIN_RECTANGLE = 2
"""Sides of a rectangle are at least so long, pixels."""


def parse_body(request: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The file and the prompts of a request, as the front door sends them."""
    try:
        prompts = json.loads(str(request.get("asked") or "{}"))
    except (ValueError, RecursionError) as error:
        raise BadRequest("The prompts are not JSON.", "Send them in the form field `sam_input`.") from error

    if not isinstance(prompts, dict):
        raise BadRequest("The prompts are not a JSON object.", "Send them in the form field `sam_input`.")

    return base64.b64decode(str(request.get("file") or "")), prompts


def parse_prompts(sent: Mapping[str, Any], shape: tuple[int, int]) -> SlicePrompts:
    """The prompts of the older client: `rectangles`, `positive_points`, `negative_points`; pixels from the corner.

    Negative points alone leave the rest of the picture: as if a rectangle had been drawn around it.
    """
    boxes = tuple(_parse_rectangle(r, shape) for r in _read_list(sent, "rectangles"))
    positive = tuple(_parse_pixel(p, shape) for p in _read_list(sent, "positive_points"))
    negative = tuple(_parse_pixel(p, shape) for p in _read_list(sent, "negative_points"))

    if not (boxes or positive or negative):
        raise WrongPrompts("There is no rectangle and no point.", "Draw a rectangle, or click on what is wanted.")

    if not (boxes or positive):
        boxes = ((0, 0, shape[0] - 1, shape[1] - 1),)

    return SlicePrompts(boxes, positive, negative)


def _read_list(sent: Mapping[str, Any], name: str) -> list[Any]:
    values = sent.get(name) or []
    if not isinstance(values, list) or len(values) > MAX_PROMPTS:
        raise WrongPrompts(f"`{name}` is not a list of at most {MAX_PROMPTS}.", "Correct it.")

    return values


def _read_numbers(value: Any, *names: str) -> list[float]:
    numbers = [value.get(name) if isinstance(value, dict) else None for name in names]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < MAX_NUMBER for n in numbers):
        raise WrongPrompts(f"A prompt lacks one of the numbers {', '.join(names)}.", "Correct it.")

    return [float(cast(float, n)) for n in numbers]


def _parse_pixel(value: Any, shape: tuple[int, int]) -> Pixel:
    x, y = _read_numbers(value, "x", "y")
    if not (0 <= x < shape[1] and 0 <= y < shape[0]):
        raise WrongPrompts(
            f"The point {x:g}, {y:g} lies outside of the picture of {shape[1]} × {shape[0]}.", "Correct it."
        )

    return int(y), int(x)


def _parse_rectangle(value: Any, shape: tuple[int, int]) -> Rectangle:
    x, y, width, height = _read_numbers(value, "startX", "startY", "width", "height")
    left, right = sorted((x, x + width))  # drawn towards any side
    top, bottom = sorted((y, y + height))

    is_outside = right <= 0 or bottom <= 0 or left >= shape[1] or top >= shape[0]
    if is_outside or right - left < MIN_RECTANGLE or bottom - top < MIN_RECTANGLE:
        raise WrongPrompts("A rectangle lies outside of the picture, or is narrower than two pixels.", "Correct it.")

    return max(0, int(top)), max(0, int(left)), min(shape[0] - 1, int(bottom)), min(shape[1] - 1, int(right))
