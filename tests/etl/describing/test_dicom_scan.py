"""The fast scan of a header finds what pydicom finds, or leaves the file to pydicom."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from data import shared_data
from dicom_objects import as_file, image
from etl.describing.dicom_file import WANTED_TAGS, NotDicom, Truncated, parse_with_pydicom
from etl.describing.dicom_scan import scan_file
from etl.describing.object_rows import TABLE_COLUMNS, describe_object

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, on old files
PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7)


def files() -> list[Path]:
    """Every shared file and every one that comes with pydicom."""
    bundled = Path(pydicom.__file__).parent / "data" / "test_files"
    return [p for folder in (shared_data(), bundled) for p in sorted(folder.rglob("*")) if p.is_file()]


def test_scan_and_pydicom_agree_on_every_file() -> None:
    scanned = 0
    for path in files():
        data = path.read_bytes()
        found = scan_file(data, WANTED_TAGS)
        if found is None:
            continue
        try:
            expected = parse_with_pydicom(data)
        except (Truncated, NotDicom):
            pytest.fail(f"{path.name}: scanned, though pydicom cannot read it")
        assert set(found.dataset.keys()) == set(expected.dataset.keys()) & WANTED_TAGS, path.name
        assert describe_object(found) == describe_object(expected), path.name
        for tag in list(found.dataset.keys()):
            assert found.dataset[tag] == expected.dataset[tag], (path.name, tag)
        assert found.dataset.original_encoding == expected.dataset.original_encoding
        scanned += 1
    assert scanned > 300


def test_sequences_of_undefined_length_are_stepped_over() -> None:
    dataset = image(PIXELS)
    inner = Dataset()
    inner.PatientID = "NOT THIS ONE"
    nested = Dataset()
    nested.ReferencedSeriesSequence = [inner]
    dataset.ReferencedStudySequence = [nested, nested]
    for element in (dataset["ReferencedStudySequence"], nested["ReferencedSeriesSequence"]):
        element.is_undefined_length = True
    inner.is_undefined_length_sequence_item = nested.is_undefined_length_sequence_item = True
    for syntax in (dataset.file_meta.TransferSyntaxUID, ImplicitVRLittleEndian):
        dataset.file_meta.TransferSyntaxUID = syntax
        data = as_file(dataset)
        assert data.count(b"\xfe\xff\x0d\xe0") == 4
        found = scan_file(data, WANTED_TAGS)
        assert found is not None
        assert found.raw[0x00100020].strip() == b"P1"
        assert found.dataset.PixelData == dataset.PixelData


@pytest.mark.parametrize("cut", [3, 140, 300, 500, 700])
def test_a_file_that_is_cut_off_is_left_to_pydicom(cut: int) -> None:
    assert scan_file(as_file(image(PIXELS))[:cut], WANTED_TAGS) is None


def test_big_endian_and_compressed_files_are_left_to_pydicom() -> None:
    dataset = image(PIXELS)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    assert scan_file(as_file(dataset), WANTED_TAGS) is None


def test_every_column_is_among_the_wanted() -> None:
    assert {c.tag for columns in TABLE_COLUMNS.values() for c in columns} <= WANTED_TAGS
