"""Whether a received file is DICOM (PS3.10) and whole."""

from io import BytesIO
from typing import TYPE_CHECKING

from api.uploads.received import RefusedFile, StorableFile
from minipacs.errors import ExceedsMemory, Unreadable
from minipacs.formats.dicom_file import read_dicom
from minipacs.formats.parsing import translate_parser_errors
from minipacs.formats.uids import check_uid

if TYPE_CHECKING:
    from pydicom import FileDataset

PREFIX = b"DICM"
PREFIX_OFFSET = 128
"""Bytes of the preamble before it (PS3.10 7.1)."""
REQUIRED = {
    "SOPClassUID": "SOP Class UID",
    "SOPInstanceUID": "SOP Instance UID",
    "SeriesInstanceUID": "Series Instance UID",
    "StudyInstanceUID": "Study Instance UID",
}
"""Keyword and name of each UID that a file must have."""


def check_dicom(file: bytes) -> StorableFile | RefusedFile:
    """A DICOM file with its UIDs and as many bytes of pixels as its header promises, or why it is none."""
    from pydicom import config

    has_prefix = file[PREFIX_OFFSET:].startswith(PREFIX)
    try:
        with config.disable_value_validation(), translate_parser_errors("The DICOM file is broken"):
            dataset = read_dicom(BytesIO(file), force=not has_prefix)
            uids = {keyword: str(dataset.get(keyword) or "") for keyword in REQUIRED}
            is_directory = "DirectoryRecordSequence" in dataset
            fault = explain_missing_pixels(dataset) if all(uids.values()) else None
    except ExceedsMemory as error:
        return RefusedFile(str(error))
    except Unreadable:
        return RefusedFile("This is not DICOM, or it is broken.")

    missing = [keyword for keyword, uid in uids.items() if not uid]
    if missing and not has_prefix:
        return RefusedFile("This is not DICOM.")
    if is_directory:
        return RefusedFile("A DICOMDIR is an index of files; the files themselves are stored.")
    if missing:
        return RefusedFile(f"The DICOM file has no {missing[0]}.")
    if fault is not None:
        return RefusedFile(fault)

    try:
        for keyword, uid in uids.items():
            check_uid(uid, REQUIRED[keyword])
    except Unreadable as error:
        return RefusedFile(error.message)
    return StorableFile("DICOM", uids["StudyInstanceUID"], (file,))


def explain_missing_pixels(dataset: "FileDataset") -> str | None:
    """Why the pixels are not whole (PS3.5 8.1.1); None where they are, or are compressed."""
    if "PixelData" not in dataset:
        has_other_pixels = "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset
        is_cut_off = "Rows" in dataset and not has_other_pixels
        return "The file is cut off: it has rows, but no pixels." if is_cut_off else None

    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if syntax is None or syntax.is_compressed:
        return None

    expected, actual = _expected_pixel_bytes(dataset), len(dataset.PixelData)
    return f"The file is cut off: {actual} of {expected} bytes of pixels." if actual < expected else None


def _expected_pixel_bytes(dataset: "FileDataset") -> int:
    """The length of uncompressed Pixel Data."""
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    samples = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1)) * frames
    bits = samples * int(dataset.BitsAllocated)
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    return (bits + 7) // 8
