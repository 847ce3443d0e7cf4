"""What structures are called and coded: `anatomy.csv`, one SNOMED CT concept a line, without sides.

The codes are those of PS3.16 (CID 7151, 7159, 7166, 7192 and their likes) and of 3D Slicer's and
TotalSegmentator's published tables. A side is a modifier (PS3.16 CID 244), never part of a name here.
"""

import csv
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files

from segmentation.labelmap import Segment
from segmentation.vocabulary import codes
from segmentation.vocabulary.codes import Code, sct

CATEGORIES = {"anatomy": codes.ANATOMICAL_STRUCTURE, "tissue": codes.TISSUE, "lesion": codes.ABNORMAL_STRUCTURE}
SIDES = {"left": codes.LEFT, "right": codes.RIGHT}
GOLDEN_ANGLE = 137.508
"""Degrees between hues of colors that follow one another: no two neighbours look alike."""


def find_structure(name: str) -> Segment | None:
    """The coded segment of this name ("left kidney", "kidney_left", "vertebrae L5"), or nothing."""
    words = name.replace("_", " ").split()
    sides = [word.lower() for word in words if word.lower() in SIDES]
    known = _read_structures()

    for candidate in (" ".join(words), " ".join(word for word in words if word.lower() not in SIDES)):
        if found := known.get(_normalise_name(candidate)):
            # the heart's left atrium is a concept of its own: its side is in the name found
            side = SIDES[sides[0]] if sides and not set(sides) & set(found.label.split()) else None
            label = f"{sides[0]} {found.label}" if side else found.label
            return replace(found, label=label, laterality=side)

    return None


def list_structures() -> Iterator[Segment]:
    """Every structure of the list, by name; without a side."""
    yield from _read_structures().values()


def choose_color(number: int) -> tuple[int, int, int]:
    """sRGB, 0 to 255, of the n-th of many; the same for the same number."""
    from colorsys import hsv_to_rgb

    red, green, blue = hsv_to_rgb(number * GOLDEN_ANGLE / 360 % 1, 0.55, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


@cache
def _read_structures() -> dict[str, Segment]:
    text = (files("segmentation.vocabulary") / "anatomy.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return {_normalise_name(row["name"]): _make_segment(number, row) for number, row in enumerate(rows)}


def _make_segment(number: int, row: dict[str, str]) -> Segment:
    region: Code | None = sct(row["region_code"], row["region"]) if row["region_code"] else None
    type_ = sct(row["code"], row["meaning"])
    return Segment(row["name"], CATEGORIES[row["category"]], type_, region=region, color=choose_color(number))


def _normalise_name(name: str) -> str:
    """A name without what differs between vendors: case, plurals, synonyms, order and repetition of words."""
    words = " ".join(WORDS.get(word, word) for word in name.lower().split()).split()
    return " ".join(sorted({word for word in words if word not in ("of", "and", "the")}))


# fmt: off
WORDS = {
    "vertebrae": "vertebra", "discs": "disc", "cartilages": "cartilage", "arteries": "artery", "vessels": "vessel",
    "vena": "vein", "veins": "vein", "clavicula": "clavicle", "urinary": "", "airway": "airways", "hepatic": "liver",
    "pancreatic": "pancreas", "primaries": "", "cancer": "tumor", "gland": "", "trunc": "trunk", "bones": "bone",
    "lungs": "lung", "autochthon": "deep back muscle", "kidneys": "kidney", "cysts": "cyst",
    "hip": "hip bone",
}
# fmt: on
"""Other spellings of a word, as engines use them."""
