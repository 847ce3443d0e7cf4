"""A quick look through a DICOM file: the values of wanted elements, found without building the others.

pydicom reads everything; most of a header is not for us, and reading it is most of the time a picture
takes. This scan knows little endian, uncompressed files only (PS3.5 7.1, 7.5) and says None to anything
else or odd: then pydicom reads. What it finds becomes a pydicom dataset of raw elements.
"""

import struct
from collections.abc import Collection
from functools import cache, lru_cache
from typing import Any

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
UNDEFINED = 0xFFFFFFFF
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""VRs with a length of 32 bits (PS3.5 7.1.2)."""
ITEM, SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
ITEM_ENDS = b"\xfe\xff\x0d\xe0\0\0\0\0"
CHARACTER_SET, SOP_INSTANCE_UID, TRANSFER_SYNTAX = 0x00080005, 0x00080018, 0x00020010
PIXEL_DATA = 0x7FE00010
SHORT = 64

IMPLICIT_HEAD = struct.Struct("<HHL")
EXPLICIT_HEAD = struct.Struct("<HH2sH")
LENGTH = struct.Struct("<L")


class Odd(Exception):
    """The file is not of the plain kind."""


def scan(data: bytes, wanted: Collection[int]) -> tuple[Dataset, dict[int, bytes]] | None:
    """The wanted top-level elements, as a dataset and as bare values; None: let pydicom read the file.

    Pixel Data is a view of the file's bytes: a copy would cost more than all the rest.
    """
    if data[128:132] != b"DICM":
        return None
    try:
        meta, start = _meta(data)
        syntax = meta[TRANSFER_SYNTAX].rstrip(b"\0 ").decode("ascii")
        if syntax not in (IMPLICIT, EXPLICIT):
            return None
        values: dict[int, bytes] = {}
        elements: dict[BaseTag, DataElement | RawDataElement] = {}
        implicit = syntax == IMPLICIT
        whole = memoryview(data)
        for tag, vr, at, length in _elements(data, start, implicit, wanted):
            value: Any = (whole if tag == PIXEL_DATA else data)[at : at + length]
            values[tag] = value
            name = None if implicit else vr.decode("ascii")
            if length <= SHORT and _is_shared(tag):
                elements[BaseTag(tag)] = _shared(tag, name, value, implicit)
            else:
                elements[BaseTag(tag)] = RawDataElement(BaseTag(tag), name, length, value, at, implicit, True)
    except (Odd, struct.error, KeyError, UnicodeDecodeError, RecursionError):
        return None
    if not values.get(SOP_INSTANCE_UID):
        return None
    dataset = Dataset(elements)
    dataset.set_original_encoding(implicit, True, _character_set(values.get(CHARACTER_SET, b"")))
    dataset.file_meta = _file_meta(syntax)
    return dataset, values


@cache
def _is_shared(tag: int) -> bool:
    """Whether the value depends on nothing but its bytes: no character set, no Pixel Representation."""
    return dictionary_VR(tag) in ("US", "DS", "CS", "IS")


@lru_cache(maxsize=4096)
def _shared(tag: int, vr: str | None, value: bytes, implicit: bool) -> DataElement | RawDataElement:
    """An element that many headers have, converted once; nobody changes it. Broken ones stay raw."""
    raw = RawDataElement(BaseTag(tag), vr, len(value), value, 0, implicit, True)
    try:
        return convert_raw_data_element(raw)
    except (ValueError, TypeError, OverflowError, NotImplementedError, KeyError):
        return raw


@cache
def _file_meta(syntax: str) -> FileMetaDataset:
    """File meta information that says the transfer syntax and nothing else."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    return meta


@cache
def _character_set(value: bytes) -> str | list[str]:
    """Specific Character Set as Python's names of codecs."""
    names = [name.strip("\0 ") for name in value.decode("ascii", "replace").split("\\")]
    return convert_encodings(names) if any(names) else default_encoding


def _meta(data: bytes) -> tuple[dict[int, bytes], int]:
    """The file meta information, explicit VR (PS3.10 7.1), and where the dataset begins."""
    values: dict[int, bytes] = {}
    position = 132
    while data[position : position + 2] == b"\2\0":
        tag, _vr, start, length = _head(data, position, False)
        values[tag] = data[start : start + length]
        position = start + length
    return values, position


Head = tuple[int, bytes, int, int]
"""Of an element: tag, VR (empty when implicit), where its value begins, how long it is."""


def _head(data: bytes, position: int, implicit: bool) -> Head:
    if implicit:
        group, number, length = IMPLICIT_HEAD.unpack_from(data, position)
        return group << 16 | number, b"", position + 8, length
    group, number, vr, length = EXPLICIT_HEAD.unpack_from(data, position)
    if vr in LONG:
        return group << 16 | number, vr, position + 12, LENGTH.unpack_from(data, position + 8)[0]
    if not vr.isalpha():
        raise Odd
    return group << 16 | number, vr, position + 8, length


def _elements(data: bytes, position: int, implicit: bool, wanted: Collection[int]) -> list[Head]:
    """The wanted elements of a dataset; each tag must be above the one before, the last must end with the file."""
    found: list[Head] = []
    last, end = -1, len(data)
    while position < end:
        head = tag, vr, start, length = _head(data, position, implicit)
        if tag <= last:
            raise Odd
        if tag in wanted:
            if length == UNDEFINED:
                raise Odd
            found.append(head)
        position = _past_items(data, start, implicit or vr == b"UN") if length == UNDEFINED else start + length
        last = tag
    if position != end:
        raise Odd
    return found


def _past_items(data: bytes, position: int, implicit: bool) -> int:
    """The end of a sequence of undefined length (PS3.5 7.5.2)."""
    while True:
        group, number, length = IMPLICIT_HEAD.unpack_from(data, position)
        position += 8
        tag = group << 16 | number
        if tag == SEQUENCE_END:
            return position
        if tag != ITEM:
            raise Odd
        position = _past_item(data, position, implicit) if length == UNDEFINED else position + length


def _past_item(data: bytes, position: int, implicit: bool) -> int:
    """The end of an item of undefined length."""
    while data[position : position + 8] != ITEM_ENDS:
        _tag, vr, start, length = _head(data, position, implicit)
        position = _past_items(data, start, implicit or vr == b"UN") if length == UNDEFINED else start + length
    return position + 8
