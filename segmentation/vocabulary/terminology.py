"""Names for what was segmented: a list of coded terms, found by the beginnings of their words.

The terms are the Standard's own context groups (PS3.16 CID 7192, 7166, 7159, 7193) as pydicom ships
them, so that nothing is downloaded and nothing else must be licensed; SNOMED CT codes in DICOM may be
used royalty-free (PS3.16 8.1). Paired organs stand in the list three times: right, left and unsaid.
"""

import colorsys
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import TypedDict

from segmentation.vocabulary import codes
from segmentation.vocabulary.codes import Code, CodeJson, sct

GROUPS = {
    "cid7192": codes.ANATOMICAL_STRUCTURE,
    "cid7166": codes.TISSUE,
    "cid7159": codes.ABNORMAL_STRUCTURE,
    "cid7193": codes.PHYSICAL_OBJECT,
}
"""Context group, and the category of its terms."""
MAX_TERMS = 30
"""Of one search."""
MAX_MEANING, MAX_VALUE = 56, 16
"""Characters of a code's parts: a side must fit before the meaning (VR LO), and the value into VR SH."""
# fmt: off
PAIRED = frozenset((
    "Adrenal gland", "Breast", "Bronchus", "Calcaneus", "Clavicle", "Common carotid artery", "Common iliac artery",
    "Elbow joint", "Eye", "Femur", "Fibula", "Foot", "Forearm", "Hand", "Hip", "Hippocampus", "Humerus",
    "Internal carotid artery", "Kidney", "Knee", "Lateral Ventricle", "Lower leg", "Lower limb", "Lower lobe of lung",
    "Lung", "Orbital structure", "Ovary", "Parotid gland", "Patella", "Pulmonary artery", "Radius", "Renal artery",
    "Rib", "Scapula", "Seminal Vesicle", "Shoulder", "Subclavian artery", "Submandibular gland", "Talus", "Testis",
    "Thalamus", "Thigh", "Tibia", "Ulna", "Upper arm", "Upper limb", "Upper lobe of lung", "Ureter", "Vertebral artery",
    "Wrist joint",
))
COLORS = {
    "Lung": (197, 165, 145), "Bone": (241, 214, 145), "Liver": (221, 130, 101), "Kidney": (185, 102, 83),
    "Spleen": (157, 108, 162), "Aorta": (224, 97, 76), "Heart": (206, 110, 84), "Pancreas": (249, 180, 111),
    "Stomach": (216, 132, 105), "Brain": (250, 250, 225), "Urinary bladder": (222, 154, 132),
    "Gallbladder": (139, 150, 98), "Trachea": (182, 228, 255), "Esophagus": (211, 171, 143),
}
# fmt: on
EXTRA = {
    codes.TISSUE: (codes.SUBCUTANEOUS_FAT, codes.FAT, codes.SKELETAL_MUSCLE, codes.SOFT_TISSUE, codes.BONE),
    codes.ANATOMICAL_STRUCTURE: (
        sct("12611008", "Tibia"),
        sct("87342007", "Fibula"),
        sct("23416004", "Ulna"),
        sct("62413002", "Radius"),
        sct("67453005", "Talus"),
        sct("59441001", "Lymph node"),
    ),
    codes.ABNORMAL_STRUCTURE: (
        sct("27925004", "Nodule"),
        sct("4147007", "Mass"),
        sct("108369006", "Neoplasm"),
        sct("128462008", "Metastasis"),
        sct("367643001", "Cyst"),
        sct("50960005", "Hemorrhage"),
        sct("35566002", "Hematoma"),
        sct("79654002", "Edema"),
        sct("44132006", "Abscess"),
        sct("6574001", "Necrosis"),
        sct("85659009", "Aneurysm"),
        sct("41699000", "Effusion"),
        sct("36118008", "Pneumothorax"),
    ),
}  # fmt: skip
"""What the groups lack and radiologists draw."""


class TermJson(TypedDict):
    """A term in an answer."""

    label: str
    category: CodeJson
    type: CodeJson
    laterality: CodeJson | None
    color: list[int]
    """sRGB, 0 to 255."""


@dataclass(frozen=True)
class Term:
    """What a segment can be called."""

    label: str
    category: Code
    type: Code
    laterality: Code | None
    color: tuple[int, int, int]

    def as_json(self) -> TermJson:
        """As the route answers it."""
        return {
            "label": self.label,
            "category": self.category.as_json(),
            "type": self.type.as_json(),
            "laterality": self.laterality.as_json() if self.laterality else None,
            "color": list(self.color),
        }


def search_terms(query: str) -> list[Term]:
    """Terms in which every word of the query begins a word, the shortest first; all beginnings for an empty one."""
    start, words = query.lower().strip(), _split_words(query)
    found = [term for term in list_all_terms() if _has_word_for_each_start(words, _split_words(term.label))]

    return sorted(found, key=lambda term: (not term.label.lower().startswith(start), len(term.label)))[:MAX_TERMS]


@cache
def list_all_terms() -> tuple[Term, ...]:
    """The whole list."""
    from pydicom.sr.codedict import codes as published

    kinds = {(code.scheme, code.value): (category, code) for category, extra in EXTRA.items() for code in extra}

    for group, category in GROUPS.items():
        for concept in getattr(published, group).concepts.values():
            if len(concept.meaning) <= MAX_MEANING and len(concept.value) <= MAX_VALUE:
                code = Code(concept.value, concept.scheme_designator, concept.meaning)
                kinds.setdefault((code.scheme, code.value), (category, code))

    return tuple(term for category, code in kinds.values() for term in _make_terms(category, code))


def _make_terms(category: Code, code: Code) -> list[Term]:
    """The term, and one for each side where there are two."""
    color = COLORS.get(code.meaning) or _derive_color(code)
    terms = [Term(code.meaning, category, code, None, color)]

    if code.meaning in PAIRED:
        lower = code.meaning[:1].lower() + code.meaning[1:]
        terms.append(Term(f"Right {lower}", category, code, codes.RIGHT, color))
        terms.append(Term(f"Left {lower}", category, code, codes.LEFT, _darken(color)))

    return terms


def _has_word_for_each_start(starts: list[str], words: list[str]) -> bool:
    return all(any(word.startswith(start) for word in words) for start in starts)


def _split_words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _derive_color(code: Code) -> tuple[int, int, int]:
    """A color of its own, always the same, neither dark nor pale."""
    number = int(sha256(code.value.encode()).hexdigest(), 16)
    red, green, blue = colorsys.hls_to_rgb((number % 360) / 360, 0.52 + (number >> 16) % 16 / 100, 0.62)
    return round(red * 255), round(green * 255), round(blue * 255)


def _darken(color: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(0.8 * channel) for channel in color)
    return red, green, blue
