"""What stands in a request, checked: every mistake is a sentence for the person who made it."""

from collections.abc import Mapping
from typing import Any

from minipacs.errors import BadRequest, WrongPrompts
from segmentation.labelmap import Segment
from segmentation.prompt_pixels import PromptOnSlice
from segmentation.prompts import Box, Point, Position
from segmentation.vocabulary.codes import Code

MAX_PROMPTS = 500
"""Of one request."""
MAX_NUMBER = 1e7
"""No coordinate and no window of a patient is larger."""
DEFAULT_COLOR = (220, 90, 40)


def parse_prompts(prompts: Any, index_by_uid: Mapping[str, int]) -> list[PromptOnSlice]:
    """The prompts of a request, each with the slice it names; `index_by_uid`: by SOP Instance UID."""
    if not isinstance(prompts, list) or not prompts:
        raise WrongPrompts("There are no prompts.", "Send `prompts`: a list of points and boxes.")

    if len(prompts) > MAX_PROMPTS:
        raise WrongPrompts(f"{len(prompts)} prompts at once; the limit is {MAX_PROMPTS}.", "Send fewer.")

    return [_parse_prompt(prompt, index_by_uid) for prompt in prompts]


def _parse_prompt(prompt: Any, index_by_uid: Mapping[str, int]) -> PromptOnSlice:
    if not isinstance(prompt, dict) or ("point" in prompt) == ("box" in prompt):
        raise WrongPrompts("A prompt is neither a point nor a box.", 'Send {"point": [x, y, z], "positive": true}.')

    uid = prompt.get("sop_instance_uid")
    if uid is not None and (not isinstance(uid, str) or uid not in index_by_uid):
        raise WrongPrompts("A prompt names an image that is not in the series.", "Check `sop_instance_uid`.")

    index = None if uid is None else index_by_uid[uid]

    if prompt.get("frame", 1) != 1:
        raise WrongPrompts("A prompt names a frame that its image does not have.", "Frames are numbered from 1.")

    if "point" in prompt:
        positive = prompt.get("positive", True)
        if not isinstance(positive, bool):
            raise WrongPrompts("`positive` is neither true nor false.", "Leave it out for a positive point.")
        return PromptOnSlice(Point(_parse_position(prompt["point"]), positive), index)

    corners = prompt["box"]
    if not isinstance(corners, list) or len(corners) != 2:
        raise WrongPrompts("A box has two opposite corners.", 'Send {"box": [[x, y, z], [x, y, z]]}.')

    return PromptOnSlice(Box(_parse_position(corners[0]), _parse_position(corners[1])), index)


def _parse_position(values: Any) -> Position:
    if not isinstance(values, list) or len(values) != 3 or not all(_is_number(v) for v in values):
        raise WrongPrompts("A position has three numbers: x, y, z.", "Send patient coordinates (LPS, mm).")

    x, y, z = (float(v) for v in values)
    return x, y, z


def parse_window(value: Any) -> tuple[float, float] | None:
    """Centre and width, or nothing (PS3.3 C.11.2.1.2: a width is at least 1; the viewer's may be a fraction)."""
    if value is None:
        return None

    if not isinstance(value, list) or len(value) != 2 or not all(_is_number(v) for v in value) or value[1] <= 0:
        raise BadRequest("`window` is not a centre and a positive width.", "Send [40, 400], or leave it out.")

    return float(value[0]), float(value[1])


def read_text(body: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text of the request."""
    value = body.get(name, default)
    if value is None or (value == "" and default is None):
        raise BadRequest(f"`{name}` is missing.", f"Send `{name}`.")

    if not isinstance(value, str) or not value.isprintable():
        raise BadRequest(f"`{name}` is not a text of printable characters.", "Correct it.")

    return value


def read_boolean(body: Mapping[str, Any], name: str) -> bool:
    """True or false of the request; false when it is left out."""
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise BadRequest(f"`{name}` is neither true nor false.", "Correct it.")

    return value


def parse_segment(body: Mapping[str, Any]) -> Segment:
    """The segment: what the user calls the result."""
    label = read_text(body, "label").strip()
    if not 0 < len(label) <= 64 or not label.isprintable() or "\\" in label:
        raise BadRequest("`label` must have 1 to 64 printable characters, no backslash.", "Shorten it.")

    laterality = None if body.get("laterality") is None else _parse_code(body, "laterality")

    color = body.get("color") or list(DEFAULT_COLOR)
    if not isinstance(color, list) or len(color) != 3 or not all(type(c) is int and 0 <= c <= 255 for c in color):
        raise BadRequest("`color` is not three integers from 0 to 255.", "Send [red, green, blue].")

    red, green, blue = color

    category, type_ = _parse_code(body, "category"), _parse_code(body, "type")

    return Segment(label, category, type_, laterality, color=(red, green, blue), algorithm="SEMIAUTOMATIC")


def _parse_code(body: Mapping[str, Any], name: str) -> Code:
    value = body.get(name)

    try:
        if not isinstance(value, dict):
            raise ValueError(name)
        parts = [value.get(key) for key in ("value", "scheme", "meaning")]
        if not all(isinstance(part, str) and part.isprintable() and "\\" not in part for part in parts):
            raise ValueError(name)
        return Code(*map(str, parts))
    except ValueError as error:
        raise BadRequest(
            f"`{name}` is not a coded concept.",
            'Send {"value", "scheme", "meaning"}; GET /prompts/terminology?q= finds some.',
        ) from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER
