"""A fast scan of a DICOM file: the values of wanted elements, found without parsing the others.

pydicom parses everything. Most of a header is not in the catalogue, and parsing it is most of the time
that a picture takes. This scan knows uncompressed little-endian files only (PS3.5 7.1, 7.5). For any other
or irregular file it returns None, and pydicom reads the file. What it finds becomes a pydicom dataset of
raw elements.
"""

import struct
from collections.abc import Collection, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

__all__ = ["CHARACTER_SET", "DicomObject", "RawValues", "scan_file"]

IMPLICIT_SYNTAX = "1.2.840.10008.1.2"
EXPLICIT_SYNTAX = "1.2.840.10008.1.2.1"

VRS_WITH_LONG_LENGTH = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
"""VRs whose length has 32 bits (PS3.5 7.1.2)."""

UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM = 0xFFFEE000
SEQUENCE_END = 0xFFFEE0DD
ITEM_END_BYTES = b"\xfe\xff\x0d\xe0\0\0\0\0"

CHARACTER_SET = 0x00080005
SOP_INSTANCE_UID = 0x00080018
TRANSFER_SYNTAX = 0x00020010
PIXEL_DATA = 0x7FE00010

META_START = 132
"""Where the file meta information begins: after the preamble and `DICM` (PS3.10 7.1)."""

MAX_CACHED_VALUE_BYTES = 64
"""A longer value is converted for each file anew."""

IMPLICIT_HEADER = struct.Struct("<HHL")
EXPLICIT_HEADER = struct.Struct("<HH2sH")
LONG_LENGTH = struct.Struct("<L")

RawValues = Mapping[int, bytes]
"""Undecoded values of little-endian elements by tag."""


class DicomObject(NamedTuple):
    """What was read of a DICOM file."""

    dataset: Dataset

    raw: RawValues | None
    """The same elements as they lie in the file; None when pydicom read it."""


_ElementHeader = tuple[int, bytes, int, int]
"""Of an element: tag, VR (empty when implicit), where its value begins, its length in bytes.

A plain tuple: one is made for every element of a file, and a named tuple takes five times as long.
"""


class _NotScannable(Exception):
    """The file is not of the plain kind that the scan understands."""


def scan_file(data: bytes, wanted: Collection[int]) -> DicomObject | None:
    """Find the wanted top-level elements; None when pydicom must read the file.

    Pixel Data is a view of the file's bytes: a copy would cost more than all the rest.
    """
    if data[128:132] != b"DICM":
        return None

    try:
        meta, start = _read_file_meta(data)
        syntax = meta[TRANSFER_SYNTAX].rstrip(b"\0 ").decode("ascii")
        if syntax not in (IMPLICIT_SYNTAX, EXPLICIT_SYNTAX):
            return None

        implicit = syntax == IMPLICIT_SYNTAX
        elements, values = _read_elements(data, start, implicit, wanted)
    except (_NotScannable, struct.error, KeyError, UnicodeDecodeError, RecursionError):
        return None

    if not values.get(SOP_INSTANCE_UID):
        return None

    dataset = Dataset(elements)
    dataset.set_original_encoding(implicit, True, _parse_character_set(values.get(CHARACTER_SET, b"")))
    dataset.file_meta = _make_file_meta(syntax)
    return DicomObject(dataset, values)


def _read_file_meta(data: bytes) -> tuple[dict[int, bytes], int]:
    """The file meta information, which is always explicit VR (PS3.10 7.1), and where the dataset begins."""
    values: dict[int, bytes] = {}
    position = META_START

    while data[position : position + 2] == b"\2\0":
        tag, _vr, start, length = _read_element_header(data, position, False)
        position = start + length
        values[tag] = data[start:position]

    return values, position


def _read_elements(
    data: bytes, start: int, implicit: bool, wanted: Collection[int]
) -> tuple[dict[BaseTag, DataElement | RawDataElement], dict[int, bytes]]:
    """The wanted elements as pydicom holds them, and their bare values."""
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    values: dict[int, bytes] = {}
    view = memoryview(data)

    for tag, vr, at, length in _find_element_headers(data, start, implicit, wanted):
        value: Any = (view if tag == PIXEL_DATA else data)[at : at + length]
        values[tag] = value

        vr_name = None if implicit else vr.decode("ascii")
        if length <= MAX_CACHED_VALUE_BYTES and _is_cacheable(tag):
            elements[BaseTag(tag)] = _make_cached_element(tag, vr_name, value, implicit)
        else:
            elements[BaseTag(tag)] = RawDataElement(BaseTag(tag), vr_name, length, value, at, implicit, True)

    return elements, values


def _find_element_headers(data: bytes, position: int, implicit: bool, wanted: Collection[int]) -> list[_ElementHeader]:
    """Headers of the wanted elements; raises `_NotScannable` unless tags ascend and the last value ends the file."""
    found: list[_ElementHeader] = []
    last_tag, end = -1, len(data)

    while position < end:
        header = tag, vr, start, length = _read_element_header(data, position, implicit)
        if tag <= last_tag:
            raise _NotScannable

        if tag in wanted:
            if length == UNDEFINED_LENGTH:
                raise _NotScannable
            found.append(header)

        if length == UNDEFINED_LENGTH:
            position = _find_end_of_sequence(data, start, implicit or vr == b"UN")
        else:
            position = start + length
        last_tag = tag

    if position != end:
        raise _NotScannable
    return found


def _read_element_header(data: bytes, position: int, implicit: bool) -> _ElementHeader:
    """The header of the element at this position (PS3.5 7.1)."""
    if implicit:
        group, number, length = IMPLICIT_HEADER.unpack_from(data, position)
        return group << 16 | number, b"", position + 8, length

    group, number, vr, length = EXPLICIT_HEADER.unpack_from(data, position)
    if vr in VRS_WITH_LONG_LENGTH:
        return group << 16 | number, vr, position + 12, LONG_LENGTH.unpack_from(data, position + 8)[0]
    if not vr.isalpha():
        raise _NotScannable
    return group << 16 | number, vr, position + 8, length


def _find_end_of_sequence(data: bytes, position: int, implicit: bool) -> int:
    """Where a sequence of undefined length ends (PS3.5 7.5.2)."""
    while True:
        group, number, length = IMPLICIT_HEADER.unpack_from(data, position)
        position += 8
        tag = group << 16 | number

        if tag == SEQUENCE_END:
            return position
        if tag != ITEM:
            raise _NotScannable
        position = _find_end_of_item(data, position, implicit) if length == UNDEFINED_LENGTH else position + length


def _find_end_of_item(data: bytes, position: int, implicit: bool) -> int:
    """Where an item of undefined length ends."""
    while data[position : position + 8] != ITEM_END_BYTES:
        _tag, vr, start, length = _read_element_header(data, position, implicit)
        if length == UNDEFINED_LENGTH:
            position = _find_end_of_sequence(data, start, implicit or vr == b"UN")
        else:
            position = start + length
    return position + 8


@cache
def _is_cacheable(tag: int) -> bool:
    """Whether the value depends on its bytes alone: on no character set and no Pixel Representation."""
    return dictionary_VR(tag) in ("US", "DS", "CS", "IS")


@lru_cache(maxsize=4096)
def _make_cached_element(tag: int, vr: str | None, value: bytes, implicit: bool) -> DataElement | RawDataElement:
    """An element that many headers have, converted once; nobody may change it. A broken one stays raw."""
    raw = RawDataElement(BaseTag(tag), vr, len(value), value, 0, implicit, True)
    try:
        return convert_raw_data_element(raw)
    except (ValueError, TypeError, OverflowError, NotImplementedError, KeyError):
        return raw


@cache
def _make_file_meta(syntax: str) -> FileMetaDataset:
    """File meta information with the transfer syntax and nothing else."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    return meta


@cache
def _parse_character_set(value: bytes) -> str | list[str]:
    """Specific Character Set as Python's names of codecs."""
    names = [name.strip("\0 ") for name in value.decode("ascii", "replace").split("\\")]
    return convert_encodings(names) if any(names) else default_encoding
