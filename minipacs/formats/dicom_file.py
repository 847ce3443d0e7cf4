"""Reading a DICOM file (PS3.10) that anybody may have made: for everything but the ETL, which has a faster way."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minipacs.formats.parsing import translate_parser_errors

if TYPE_CHECKING:
    from pydicom import FileDataset

__all__ = ["read_dicom"]


def read_dicom(file: Path | BytesIO, name: str = "The file", **options: Any) -> "FileDataset":
    """The file, read by pydicom; raises `Unreadable` for one that is not DICOM, or broken.

    `name`: what the error calls it. `options`: of `pydicom.dcmread`. pydicom parses most values when they are first
    used: the caller uses them inside `translate_parser_errors` as well.
    """
    from pydicom import dcmread

    with translate_parser_errors(f"{name} is not a whole DICOM file", "Send it again."):
        return dcmread(file, **options)
