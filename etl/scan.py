"""A quick look through a DICOM file: the values of wanted elements, found without building the others.

pydicom reads everything; most of a header is not for us, and reading it is most of the time a picture
takes. This scan knows little endian, uncompressed files only (PS3.5 7.1, 7.5) and says None to anything
else or odd: then pydicom reads. What it finds becomes a pydicom dataset of raw elements.
"""

import struct
from collections.abc import Collection, Iterator
from functools import cache
from typing import NamedTuple

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
UNDEFINED = 0xFFFFFFFF
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""VRs with a length of 32 bits (PS3.5 7.1.2)."""
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
CHARACTER_SET, SOP_INSTANCE_UID, TRANSFER_SYNTAX = 0x00080005, 0x00080018, 0x00020010

TAG = struct.Struct("<HH")
IMPLICIT_HEAD = struct.Struct("<HHL")
EXPLICIT_HEAD = struct.Struct("<HH2sH")
LENGTH = struct.Struct("<L")


class Odd(Exception):
    """The file is not of the plain kind."""


class Element(NamedTuple):
    """An element on its way by: where its value begins, and how long it is."""

    tag: int
    vr: bytes
    start: int
    length: int


def scan(data: bytes, wanted: Collection[int]) -> tuple[Dataset, dict[int, bytes]] | None:
    """The wanted top-level elements, as a dataset and as bare values; None: let pydicom read the file."""
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
        for tag, vr, at, length in _elements(data, start, len(data), implicit):
            if tag in wanted and length != UNDEFINED:
                value = values[tag] = data[at : at + length]
                key, name = BaseTag(tag), None if implicit else vr.decode("ascii")
                elements[key] = RawDataElement(key, name, length, value, at, implicit, True)
            elif tag in wanted:
                return None
    except (Odd, struct.error, KeyError, UnicodeDecodeError, RecursionError):
        return None
    if not values.get(SOP_INSTANCE_UID):
        return None
    dataset = Dataset(elements)
    dataset.set_original_encoding(implicit, True, _character_set(values.get(CHARACTER_SET, b"")))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset, values


@cache
def _character_set(value: bytes) -> str | list[str]:
    """Specific Character Set as Python's names of codecs."""
    names = [name.strip("\0 ") for name in value.decode("ascii", "replace").split("\\")]
    return convert_encodings(names) if any(names) else default_encoding


def _meta(data: bytes) -> tuple[dict[int, bytes], int]:
    """The file meta information, explicit VR (PS3.10 7.1), and where the dataset begins."""
    values: dict[int, bytes] = {}
    position = 132
    for tag, _vr, start, length in _elements(data, position, len(data), False):
        if tag >> 16 != 2:
            break
        values[tag] = data[start : start + length]
        position = start + length
        if data[position : position + 2] != b"\2\0":  # what follows may be implicit VR
            break
    return values, position


def _elements(data: bytes, position: int, end: int, implicit: bool) -> Iterator[Element]:
    """Elements of a dataset, in order, each tag above the one before; sequences are stepped over."""
    last = -1
    while position < end:
        if implicit:
            group, number, length = IMPLICIT_HEAD.unpack_from(data, position)
            vr, start = b"", position + 8
        else:
            group, number, vr, length = EXPLICIT_HEAD.unpack_from(data, position)
            start = position + 8
            if vr in LONG:
                length, start = LENGTH.unpack_from(data, start)[0], start + 4
            elif not vr.isalpha():
                raise Odd
        tag = group << 16 | number
        if tag <= last:
            raise Odd
        yield Element(tag, vr, start, length)
        position = _past_items(data, start, implicit or vr == b"UN") if length == UNDEFINED else start + length
        if position > end:
            raise Odd
        last = tag
    if position != end:
        raise Odd


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
    while True:
        group, number = TAG.unpack_from(data, position)
        if group << 16 | number == ITEM_END:
            return position + 8
        element = next(_elements(data, position, len(data), implicit))
        inside = element.length == UNDEFINED
        within = implicit or element.vr == b"UN"
        position = _past_items(data, element.start, within) if inside else element.start + element.length
