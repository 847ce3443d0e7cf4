"""Names of structures, as engines and people spell them, find one coded concept."""

import pytest

from segmentation.vocabulary import anatomy, codes


@pytest.mark.parametrize(
    ("name", "label", "meaning"),
    [
        ("left kidney", "left kidney", "Kidney"),
        ("kidney_left", "left kidney", "Kidney"),
        ("left lung upper lobe", "left upper lobe of lung", "Upper lobe of lung"),
        ("vertebrae L5", "vertebra L5", "L5 vertebra"),
        ("portal vein and splenic vein", "portal and splenic vein", "Portal vein and splenic vein"),
        ("hepatic vessel", "liver vessel", "Blood vessel"),
        ("colon cancer primaries", "colon tumor", "Neoplasm"),
        ("right hip", "right hip bone", "Hip"),
        ("left autochthon", "left deep back muscle", "Deep muscle of back"),
    ],
)
def test_a_vendors_spelling_finds_the_concept(name, label, meaning):
    found = anatomy.find_structure(name)
    assert (found.label, found.type.meaning) == (label, meaning)


def test_a_side_is_a_modifier_except_where_it_is_another_concept():
    assert anatomy.find_structure("kidney right").laterality == codes.RIGHT
    assert anatomy.find_structure("left atrium").laterality is None
    assert anatomy.find_structure("left atrium").type != anatomy.find_structure("right atrium").type


def test_an_unknown_name_finds_nothing():
    assert anatomy.find_structure("left sartorius muscle of Spock") is None


def test_every_line_is_another_concept_with_its_own_colour():
    known = list(anatomy.list_structures())
    assert len({(s.label, s.type, s.region) for s in known}) == len(known) > 100
    assert len({s.color for s in known}) == len(known)
    assert {s.category for s in known} == {codes.ANATOMICAL_STRUCTURE, codes.TISSUE, codes.ABNORMAL_STRUCTURE}
