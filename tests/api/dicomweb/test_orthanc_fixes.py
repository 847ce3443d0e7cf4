"""Each mend of a known archive quirk, named after it."""

import json

import pytest

from api.dicomweb import orthanc_fixes


@pytest.mark.parametrize(
    ("asked", "understood"),
    [
        ("PatientName=Phantom%5ESynthetic", "PatientName=Phantom?Synthetic"),
        ("includefield=00081030%2C00080060", "includefield=00081030,00080060"),
        ("PatientName=*%E5%B1%B1*", "PatientName=*?*"),
        ("StudyInstanceUID=1.2%5C1.3", "StudyInstanceUID=1.2,1.3"),
        ("limit=%31&offset=0", "limit=1&offset=0"),
        ("bad%20name=1&limit=2", "limit=2"),
    ],
)
def test_query_strings_are_not_percent_decoded(asked: str, understood: str) -> None:
    assert orthanc_fixes.decoded_query(asked) == understood


def test_a_study_without_modality_ends_the_study_list() -> None:
    studies = [{"00080061": {"vr": "CS"}}, {"00080061": {"vr": "CS", "Value": ["CT"]}}]
    mended = json.loads(orthanc_fixes.mended_json("studies", json.dumps(studies).encode()))
    assert mended == [{}, {"00080061": {"vr": "CS", "Value": ["CT"]}}]


@pytest.mark.parametrize(
    "path",
    [
        "studies",
        "studies/1.2/series",
        "studies/1.2/metadata",
        "studies/1.2/series/1.3/metadata",
        "studies/1.2/series/1.3/instances/1.4",
        "studies/1.2/series/1.3/instances/1.4/frames/1",
        "studies/1.2/series/1.3/instances/1.4/frames/1,2",
        "studies/1.2/series/1.3/instances/1.4/bulk/7FE00010",
        "studies/1.2/series/1.3/rendered",
        "series",
        "instances",
    ],
)
def test_what_a_viewer_needs_passes(path: str) -> None:
    assert orthanc_fixes.may_be_read(path)


@pytest.mark.parametrize(
    "path",
    [
        "servers",
        "servers/x/get",
        "studies/../../system",
        "studies/1.2/../..",
        "studies/1.2/attachments",
        "",
        "info",
        "x/studies",
    ],
)
def test_the_rest_of_the_archive_does_not(path: str) -> None:
    assert not orthanc_fixes.may_be_read(path)
