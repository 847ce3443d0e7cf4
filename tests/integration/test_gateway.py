"""The gateway in front of a real Orthanc: what passes, what does not, and what it costs nobody."""

import urllib.error
import urllib.request
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from minipacs.local.phantom import write_chest_ct
from stack import RunningStack
from waiting import PATIENCE_S

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def stored(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, pydicom.Dataset]:
    """A study of three slices: the path of its first instance, and that instance."""
    folder = tmp_path_factory.mktemp("gateway")
    files = write_chest_ct(folder, patient_id="GATEWAY", slices=3)
    stack.send(folder)
    ds = pydicom.dcmread(files[0])
    return f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}", ds


def status(stack: RunningStack, path: str, method: str = "GET") -> int:
    request = stack.request(path)
    request.method = method
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_frames_come_through_as_they_are_stored(stack: RunningStack, stored: tuple[str, pydicom.Dataset]) -> None:
    path, ds = stored
    request = stack.request(path + "/frames/1", Accept="multipart/related; type=application/octet-stream")
    with urllib.request.urlopen(request) as answer:
        assert ds.PixelData in answer.read()
        assert "max-age" in answer.headers["Cache-Control"]


def test_metadata_are_compressed_and_point_to_our_own_address(
    stack: RunningStack, stored: tuple[str, pydicom.Dataset]
) -> None:
    path, _ = stored
    request = stack.request(path.rsplit("/instances", 1)[0] + "/metadata", **{"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
    (metadata, *_) = stack.get_json(path.rsplit("/instances", 1)[0] + "/metadata")
    assert "127.0.0.1:8042" not in str(metadata)


def test_a_query_with_encoded_characters_finds_the_study(
    stack: RunningStack, stored: tuple[str, pydicom.Dataset]
) -> None:
    stack.wait_jobs(str(stored[1].StudyInstanceUID), "catalogue")  # the list of studies is the catalogue's
    found = stack.get_json("/dicom-web/studies?PatientID=GATE%57AY&includefield=00081030%2C00080061")
    assert [s["00100020"]["Value"] for s in found] == [["GATEWAY"]]


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/dicom-web/servers", "GET"),
        ("/dicom-web/studies/../../system", "GET"),
        ("/dicom-web/%2e%2e/system", "GET"),
        ("/dicom-web/studies/1.2.3", "DELETE"),
        ("/dicom-web/studies", "PUT"),
        ("/dicom-web/servers/other", "POST"),
        ("/instances", "GET"),
    ],
)
def test_the_rest_of_the_archive_stays_shut(stack: RunningStack, path: str, method: str) -> None:
    assert status(stack, path, method) in (400, 404, 405)


def test_frames_that_orthanc_cannot_pass_raw_come_uncompressed(stack: RunningStack) -> None:
    file = get_testdata_file("MR_small_bigendian.dcm")
    assert isinstance(file, str)
    stack.archive.store_file(Path(file).read_bytes())
    ds = pydicom.dcmread(file)
    path = f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    anything = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    with urllib.request.urlopen(stack.request(path + "/frames/1", Accept=anything)) as answer:
        assert ds.pixel_array.astype("<i2").tobytes() in answer.read()
