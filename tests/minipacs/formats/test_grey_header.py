"""What a header says about grey, wherever and however it says it."""

import numpy as np
import pytest
from pydicom import Dataset

from minipacs.formats.grey import GreyPipeline
from minipacs.formats.grey_header import is_inverted, read_first_window, read_pipeline, read_windows_and_luts


def of(**elements: object) -> Dataset:
    """A header of these elements."""
    header = Dataset()
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    return header


def test_an_empty_header_changes_nothing() -> None:
    assert read_pipeline(Dataset(), 0) == GreyPipeline()
    assert read_windows_and_luts(Dataset(), 0) == ([], [], [])
    assert read_first_window(Dataset()) is None


def test_a_frame_s_own_group_comes_before_the_shared_one_and_the_top_level() -> None:
    own = of(PixelValueTransformationSequence=[of(RescaleSlope=3, RescaleIntercept=-7)])
    shared = of(PixelValueTransformationSequence=[of(RescaleSlope=2, RescaleIntercept=-5)])
    header = of(RescaleSlope=9, PerFrameFunctionalGroupsSequence=[own, Dataset()])
    header.SharedFunctionalGroupsSequence = [shared]
    assert [read_pipeline(header, n).slope for n in (0, 1, 2)] == [3, 2, 2]
    assert read_pipeline(header, 0).intercept == -7


def test_the_first_valid_window_is_the_first_window() -> None:
    header = of(WindowCenter=[10, 40, 50], WindowWidth=[0, 400, 350])
    assert read_first_window(header) == (40.0, 400.0)
    windows, _, remarks = read_windows_and_luts(header, 0)
    assert [w.number for w in windows] == [2, 3]
    assert len(remarks) == 1


@pytest.mark.parametrize(
    ("elements", "inverted"),
    [
        ({}, False),
        ({"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "IDENTITY"}, False),
        ({"PhotometricInterpretation": "MONOCHROME1"}, True),
        ({"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "INVERSE"}, True),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, True),  # once, not twice
    ],
)
def test_inverted_is_what_either_element_inverts(elements: dict[str, str], inverted: bool) -> None:
    header = of(**elements)
    assert is_inverted(header) is inverted
    assert read_pipeline(header, 0).inverted is inverted


def test_a_modality_lut_of_the_header_is_read_with_its_first_value() -> None:
    lut = of(LUTDescriptor=[3, 5, 16], LUTData=[10, 20, 300], ModalityLUTType="US")
    pipeline = read_pipeline(of(ModalityLUTSequence=[lut]), 0)
    assert pipeline.to_modality(np.array([0.0, 5.0, 6.0, 7.0, 99.0])).tolist() == [10, 10, 20, 300, 300]
