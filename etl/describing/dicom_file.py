"""Reads a DICOM file: by the fast scan where it can, by pydicom otherwise."""

from io import BytesIO
from typing import Any

from pydicom import FileDataset
from pydicom.datadict import tag_for_keyword
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from etl.describing.dicom_scan import DicomObject, scan_file
from etl.describing.object_rows import TABLE_COLUMNS
from minipacs.errors import ExceedsMemory, Unreadable
from minipacs.formats.decode_pixels import PIXEL_KEYWORDS
from minipacs.formats.dicom_file import read_bounded_dicom
from minipacs.formats.parsing import translate_parser_errors

__all__ = ["WANTED_TAGS", "NotDicom", "Truncated", "parse_dicom_file", "parse_with_pydicom"]

RENDERING_KEYWORDS = """
SpecificCharacterSet PhotometricInterpretation HighBit PlanarConfiguration PixelPaddingValue
PixelPaddingRangeLimit ModalityLUTSequence VOILUTSequence PresentationLUTShape SharedFunctionalGroupsSequence
PerFrameFunctionalGroupsSequence NominalScannedPixelSpacing SegmentSequence SegmentationType
MaximumFractionalValue ExtendedOffsetTable ExtendedOffsetTableLengths RedPaletteColorLookupTableDescriptor
GreenPaletteColorLookupTableDescriptor BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData
GreenPaletteColorLookupTableData BluePaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData
SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData PaletteColorLookupTableUID
AlphaPaletteColorLookupTableDescriptor SmallestImagePixelValue SpacingBetweenSlices ImageOrientationPatient
"""
"""What rendering needs beside the catalogue's columns."""

_COLUMN_TAGS = sorted({column.tag for columns in TABLE_COLUMNS.values() for column in columns})
_RENDERING_TAGS = [tag_for_keyword(keyword) for keyword in (*RENDERING_KEYWORDS.split(), *PIXEL_KEYWORDS)]
_TAGS: list[Any] = [*_COLUMN_TAGS, *_RENDERING_TAGS]

WANTED_TAGS = frozenset(int(tag) for tag in _TAGS)
"""What is read of a file: the rest is skipped, which halves the time."""


class NotDicom(Unreadable):
    """The file is not a DICOM file."""


class Truncated(Unreadable):
    """The DICOM file ends too early."""


def parse_dicom_file(data: bytes) -> DicomObject:
    """Read the elements that the catalogue and rendering need.

    Raises `NotDicom`, `Truncated`, and `ExceedsMemory` for a deflated one that unpacks to more than an object may take.
    """
    return scan_file(data, WANTED_TAGS) or parse_with_pydicom(data)


def parse_with_pydicom(data: bytes) -> DicomObject:
    """Read a file (PS3.10), with or without preamble and meta information. Raises `NotDicom` and `Truncated`."""
    if not data:
        raise NotDicom("The file is empty.")

    has_mark = data[128:132] == b"DICM"
    try:
        with translate_parser_errors("The header cannot be read"):
            dataset = _read_with_pydicom(data, has_mark)
    except (NotDicom, Truncated, ExceedsMemory):
        raise
    except Unreadable as error:
        kind = Truncated if has_mark else NotDicom
        raise kind(error.message) from error

    if not has_mark and "SOPInstanceUID" not in dataset and "SOPClassUID" not in dataset:
        raise NotDicom("The file is not DICOM (PS3.10 7.1): no DICM mark, no SOP Class.")
    if has_mark and dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise NotDicom("The file is a DICOMDIR: a list of files (PS3.10 8), no object itself.")
    if has_mark and not len(dataset):
        raise Truncated("The file ends after its preamble and meta information (PS3.10 7): it is cut off.")
    return DicomObject(dataset, None)


def _read_with_pydicom(data: bytes, has_mark: bool) -> FileDataset:
    """The wanted elements; raises `NotDicom` and `Truncated` for what pydicom recognizes as such."""
    try:
        return read_bounded_dicom(BytesIO(data), force=not has_mark, specific_tags=_TAGS)
    except (InvalidDicomError, EOFError) as error:
        if has_mark:
            raise Truncated("The file ends within its header (PS3.10 7): it is cut off.") from error
        raise NotDicom("The file is not DICOM (PS3.10 7.1).") from error
