"""What a received file is: DICOM, or why it is refused."""

from dataclasses import dataclass
from io import BytesIO

from minipacs.formats.volume_file import is_volume_file

DICM = b"DICM"
NEEDED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


@dataclass(frozen=True)
class Received:
    """A file that the archive may have."""

    kind: str
    study: str
    files: tuple[bytes, ...]
    remark: str = ""


def look(name: str, file: bytes, modality: str = "") -> Received | str:
    """What the archive gets of this file, or the reason why it gets nothing."""
    if not file:
        return "The file is empty."
    if file[:4] == b"PK\x03\x04":
        return "A ZIP inside a ZIP is not opened: send it by itself."
    if is_volume_file(name, file[:4]):
        from api.uploads.volume_to_dicom import series_of

        return series_of(name, file, modality)
    return dicom(file)


def dicom(file: bytes) -> Received | str:
    """A DICOM file (PS3.10), whole: with its UIDs and as many bytes of pixels as it promises."""
    from pydicom import config, dcmread
    from pydicom.errors import InvalidDicomError

    marked = file[128:132] == DICM
    try:
        with config.disable_value_validation():
            ds = dcmread(BytesIO(file), force=not marked)
            sop, study = str(ds.get("SOPInstanceUID", "")), str(ds.get("StudyInstanceUID", ""))
            missing = [
                k for k in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID") if not ds.get(k)
            ]
            short = None if missing else cut_off(ds)
    except (InvalidDicomError, EOFError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OSError):
        return "This is not DICOM, or it is broken."
    if not marked and (missing or not sop):
        return "This is not DICOM."
    if "DirectoryRecordSequence" in ds:
        return "A DICOMDIR is an index of files; the files themselves are stored."
    if missing:
        return f"The DICOM file has no {missing[0]}."
    return short or Received("DICOM", study, (file,))


def cut_off(ds: object) -> str | None:
    """Why the pixels are not whole (PS3.5 8.1.1), for native transfer syntaxes."""
    from pydicom.dataset import FileDataset

    if not isinstance(ds, FileDataset):
        return None
    if "PixelData" not in ds:
        pixels = "FloatPixelData" in ds or "DoubleFloatPixelData" in ds
        return "The file is cut off: it has rows, but no pixels." if "Rows" in ds and not pixels else None
    syntax = getattr(ds.file_meta, "TransferSyntaxUID", None)
    if syntax is None or syntax.is_compressed:
        return None
    frames = int(ds.get("NumberOfFrames", 1) or 1)
    bits = int(ds.Rows) * int(ds.Columns) * int(ds.get("SamplesPerPixel", 1)) * int(ds.BitsAllocated) * frames
    if ds.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    got = len(ds.PixelData)
    return f"The file is cut off: {got} of {(bits + 7) // 8} bytes of pixels." if got < (bits + 7) // 8 else None
