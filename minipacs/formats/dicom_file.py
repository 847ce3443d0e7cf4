"""Reading a DICOM file (PS3.10) that anybody may have made. What a deflated one unpacks to is counted before it is."""

import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minipacs.errors import Unreadable
from minipacs.formats.parsing import translate_parser_errors
from minipacs.memory.size_limits import check_object_size, current_limits

if TYPE_CHECKING:
    from pydicom import FileDataset

__all__ = ["read_bounded_dicom", "read_dicom"]

DEFLATED = "1.2.840.10008.1.2.1.99"
"""Deflated Explicit VR Little Endian (PS3.5 A.5): the whole dataset is packed."""
CHUNK_BYTES = 2**20


def read_dicom(file: Path | BytesIO, name: str = "The file", **options: Any) -> "FileDataset":
    """The file, read by pydicom; raises `Unreadable` for one that is not DICOM, or broken, or too large.

    `name`: what the error calls it. `options`: of `pydicom.dcmread`. pydicom parses most values when they are first
    used: the caller uses them inside `translate_parser_errors` as well.
    """
    with translate_parser_errors(f"{name} is not a whole DICOM file", "Send it again."):
        return read_bounded_dicom(file, **options)


def read_bounded_dicom(file: Path | BytesIO, **options: Any) -> "FileDataset":
    """The file, read by pydicom; raises what pydicom raises, and `ExceedsMemory` for a file that takes more memory
    than an object may, before it does."""
    from pydicom import dcmread

    if isinstance(file, Path):
        check_object_size(0 if options.get("stop_before_pixels") else file.stat().st_size, file.name)
        if not _may_be_deflated(file):
            return dcmread(file, **options)
        file = BytesIO(file.read_bytes())

    content = file.getvalue()
    check_object_size(len(content))
    if DEFLATED.encode() in content:
        check_object_size(_count_inflated_bytes(content), "The deflated object")
    return dcmread(file, **options)


def _may_be_deflated(path: Path) -> bool:
    """Whether the file meta information, which comes first, names the deflated transfer syntax."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    try:
        with path.open("rb") as stream, translate_parser_errors("The file meta information is broken"):
            read_preamble(stream, True)
            return bool(_read_file_meta_info(stream).get("TransferSyntaxUID") == DEFLATED)
    except Unreadable:  # reading the file says what is wrong
        return False


def _count_inflated_bytes(file: bytes) -> int:
    """How many bytes the dataset of a deflated file has (PS3.5 A.5), counted up to the limit, and thrown away.

    0 for a file of another transfer syntax, and for a broken one, of which pydicom says what is wrong.
    """
    from pydicom.filereader import _read_file_meta_info, read_preamble

    stream = BytesIO(file)
    try:
        with translate_parser_errors("The file meta information is broken"):
            read_preamble(stream, True)
            syntax = str(_read_file_meta_info(stream).get("TransferSyntaxUID"))
    except Unreadable:
        return 0
    if syntax != DEFLATED:
        return 0

    limit = current_limits().object_bytes
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    packed, total = memoryview(file)[stream.tell() :], 0
    try:
        for start in range(0, len(packed), CHUNK_BYTES):
            pending: Any = packed[start : start + CHUNK_BYTES]
            while len(pending) and not inflate.eof and total <= limit:
                total += len(inflate.decompress(pending, CHUNK_BYTES))
                pending = inflate.unconsumed_tail
    except zlib.error:
        return 0
    return total
