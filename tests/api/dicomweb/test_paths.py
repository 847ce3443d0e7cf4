"""What of the archive's DICOMweb may be read, and what may not."""

import pytest

from api.dicomweb import paths


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
    assert paths.is_allowed_to_read(path)


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
    assert not paths.is_allowed_to_read(path)
