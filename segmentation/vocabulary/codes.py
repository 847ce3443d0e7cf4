"""The coded concepts our own engines use: SNOMED CT as DICOM (PS3.16 CID 7150 ff.) writes it.

Two vocabularies differ in one place: DICOM's category "Anatomical Structure" is 91723000 (PS3.16
CID 7150), 3D Slicer's terminologies (and dcmqi, TotalSegmentator) use 123037004. Results carry
DICOM's; `results/slicer_scene.py` writes Slicer's, so that Slicer finds the entry in its own list.
"""

from dataclasses import dataclass
from typing import TypedDict


class CodeJson(TypedDict):
    """A coded concept in manifests, label tables and answers."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 8.8): value, coding scheme designator, meaning (64 characters at most)."""

    value: str
    scheme: str
    meaning: str

    def as_json(self) -> CodeJson:
        """The three parts by name."""
        return {"value": self.value, "scheme": self.scheme, "meaning": self.meaning}

    def __post_init__(self) -> None:
        if not (0 < len(self.value) <= 16 and 0 < len(self.scheme) <= 16 and 0 < len(self.meaning) <= 64):
            raise ValueError(f"not a coded concept by PS3.3 8.8 (lengths 16, 16, 64): {self}")


def sct(value: str, meaning: str) -> Code:
    """A SNOMED CT concept."""
    return Code(value, "SCT", meaning)


# categories, CID 7150
ANATOMICAL_STRUCTURE = sct("91723000", "Anatomical Structure")
TISSUE = sct("85756007", "Tissue")
ABNORMAL_STRUCTURE = sct("49755003", "Morphologically Abnormal Structure")
PHYSICAL_OBJECT = sct("260787004", "Physical object")

# laterality, CID 244
RIGHT = sct("24028007", "Right")
LEFT = sct("7771000", "Left")

# types, CID 7151, 7166, 7192 and the 3D Slicer General Anatomy list
BODY = sct("38266002", "Entire body")
HEAD = sct("69536005", "Head")
TRUNK = sct("22943007", "Trunk")
LUNG = sct("39607008", "Lung")
TRACHEA_AND_BRONCHUS = sct("110726009", "Trachea and bronchus")
TRACHEA = sct("44567001", "Trachea")
BONE = sct("272673000", "Bone")
FAT = sct("55603005", "Fat")
SUBCUTANEOUS_FAT = sct("67769002", "Subcutaneous fatty tissue")
SOFT_TISSUE = sct("87784001", "Soft tissue")
SKELETAL_MUSCLE = sct("127954009", "Skeletal muscle")

# units, UCUM
MILLILITRE = Code("mL", "UCUM", "milliliter")
HOUNSFIELD_UNIT = Code("[hnsf'U]", "UCUM", "Hounsfield unit")

# algorithm families, CID 7162
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial intelligence")
MORPHOLOGY = Code("123104", "DCM", "Morphological operation")
MANUAL_PROCESSING = Code("123109", "DCM", "Manual processing")
