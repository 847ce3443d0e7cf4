"""Each known fault of the archive, and its correction."""

import json

import pytest

from api.dicomweb import orthanc_fixes


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("PatientName=Phantom%5ESynthetic", "PatientName=Phantom?Synthetic"),
        ("includefield=00081030%2C00080060", "includefield=00081030,00080060"),
        ("PatientName=*%E5%B1%B1*", "PatientName=*?*"),
        ("StudyInstanceUID=1.2%5C1.3", "StudyInstanceUID=1.2,1.3"),
        ("limit=%31&offset=0", "limit=1&offset=0"),
        ("bad%20name=1&limit=2", "limit=2"),
    ],
)
def test_query_strings_are_not_percent_decoded(sent: str, expected: str) -> None:
    assert orthanc_fixes.decode_query(sent) == expected


def test_a_study_without_modality_ends_the_study_list() -> None:
    studies = [{"00080061": {"vr": "CS"}}, {"00080061": {"vr": "CS", "Value": ["CT"]}}]
    corrected = json.loads(orthanc_fixes.leave_out_empty_modalities("studies", json.dumps(studies).encode()))
    assert corrected == [{}, {"00080061": {"vr": "CS", "Value": ["CT"]}}]
