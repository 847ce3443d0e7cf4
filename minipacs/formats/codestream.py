"""What a compressed frame says of its own size, read without decoding it.

A fragment is foreign inside of foreign: its JPEG, JPEG-LS or JPEG 2000 header may claim another size than the DICOM
header around it, and decoders take memory by the inner one.
"""

import re
from dataclasses import dataclass

from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

__all__ = ["CodestreamSize", "read_codestream_sizes"]

JPEG_START = b"\xff\xd8"
JPEG_FRAME_MARKERS = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))
"""SOF0 to SOF15 (ITU-T T.81 table B.1)."""
JPEG_LS_FRAME_MARKER = 0xF7
"""SOF55 (ITU-T T.87 C.1.1)."""
JPEG_HIERARCHICAL_MARKER = 0xDE
"""DHP: another frame header, of the largest of several frames."""
SIZE_MARKERS = JPEG_FRAME_MARKERS | {JPEG_LS_FRAME_MARKER, JPEG_HIERARCHICAL_MARKER}
SCAN_MARKER = 0xDA
"""SOS: the coded data begin."""
MARKERS_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xDA)))
SIZE_MARKERS_IN_CODED_DATA = re.compile(b"\xff[" + b"".join(b"\\x%02x" % m for m in sorted(SIZE_MARKERS)) + b"]")
"""Coded data have no such two bytes (T.81 F.1.2.3, T.87 9.1): where they stand, another header begins."""

JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
JP2_CODESTREAM = b"jp2c"
J2K_START = b"\xff\x4f\xff\x51"
"""SOC, and SIZ, which must follow (ITU-T T.800 A.5.1)."""
J2K_COMPONENT_BYTES = 3
J2K_COMPONENTS_OFFSET = 42
"""Bytes from SOC to the first component's precision."""


@dataclass(frozen=True)
class CodestreamSize:
    """What a frame header claims."""

    rows: int
    columns: int
    samples: int
    """Components of a pixel."""
    bits: int
    """Of a sample."""

    @property
    def values(self) -> int:
        """How many samples all pixels have."""
        return self.rows * self.columns * self.samples

    @property
    def decoded_bytes(self) -> int:
        """What it takes in memory: samples in whole words of 1, 2 or 4 bytes."""
        word = 1 if self.bits <= 8 else 2 if self.bits <= 16 else 4
        return self.values * word


def read_codestream_sizes(frame: bytes, transfer_syntax: str) -> list[CodestreamSize] | None:
    """Every size that a frame of this transfer syntax claims; empty where none is found.

    None for a syntax whose frames claim none: RLE is unpacked to the size of the DICOM header (PS3.5 G).
    """
    if transfer_syntax in JPEG2000TransferSyntaxes or transfer_syntax in HTJ2K_SYNTAXES:
        return _read_jpeg_2000_sizes(frame)
    if transfer_syntax in JPEGTransferSyntaxes or transfer_syntax in JPEGLSTransferSyntaxes:
        return _read_jpeg_sizes(frame)
    return None


HTJ2K_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203))
"""High-Throughput JPEG 2000 (PS3.5 A.4.4): the same header."""


def _read_jpeg_sizes(frame: bytes) -> list[CodestreamSize]:
    """Of JPEG and JPEG-LS, from the markers before the coded data, and those within them."""
    start = frame.find(JPEG_START)
    if start < 0:
        return []

    sizes: list[CodestreamSize] = []
    position = start + len(JPEG_START)
    while position + 4 <= len(frame):
        if frame[position] != 0xFF:  # decoders look for the next marker, and so do we
            position = frame.find(b"\xff", position)
            if position < 0:
                break
            continue

        marker = frame[position + 1]
        if marker in (0xFF, 0x00) or marker in MARKERS_WITHOUT_LENGTH:  # 0xFF: a fill byte (T.81 B.1.1.2)
            position += 1 if marker == 0xFF else 2
            continue
        if marker in SIZE_MARKERS:
            sizes.append(_parse_jpeg_frame_header(frame, position))
        if marker == SCAN_MARKER:
            sizes += [
                _parse_jpeg_frame_header(frame, found.start())
                for found in SIZE_MARKERS_IN_CODED_DATA.finditer(frame, position)
            ]
            break
        position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")

    return sizes


def _parse_jpeg_frame_header(frame: bytes, position: int) -> CodestreamSize:
    """Of a frame header at its marker: length, precision, rows, columns, components (T.81 B.2.2)."""
    header = frame[position + 4 : position + 10].ljust(6, b"\0")
    return CodestreamSize(
        rows=int.from_bytes(header[1:3], "big"),
        columns=int.from_bytes(header[3:5], "big"),
        samples=header[5],
        bits=header[0],
    )


def _read_jpeg_2000_sizes(frame: bytes) -> list[CodestreamSize]:
    """Of JPEG 2000, bare or in a JP2 file, which DICOM forbids and scanners write nevertheless."""
    start = _find_jpeg_2000_codestream(frame)
    if start is None or frame[start : start + 4] != J2K_START:
        return []

    def read(offset: int, length: int) -> int:
        return int.from_bytes(frame[start + offset : start + offset + length], "big")

    columns, rows, first_column, first_row = (read(offset, 4) for offset in (8, 12, 16, 20))  # T.800 A.5.1
    samples = read(40, 2)
    precisions = frame[start + J2K_COMPONENTS_OFFSET :][: samples * J2K_COMPONENT_BYTES : J2K_COMPONENT_BYTES]
    bits = max(((precision & 0x7F) + 1 for precision in precisions), default=0)
    return [CodestreamSize(max(0, rows - first_row), max(0, columns - first_column), samples, bits)]


def _find_jpeg_2000_codestream(frame: bytes) -> int | None:
    """Where the codestream begins; None for a JP2 file whose boxes lead nowhere."""
    if not frame.startswith(JP2_SIGNATURE):
        return 0

    position = len(JP2_SIGNATURE) + 4
    while position + 8 <= len(frame):
        length = int.from_bytes(frame[position : position + 4], "big")
        if frame[position + 4 : position + 8] == JP2_CODESTREAM:
            return position + 8
        if length < 8:  # 0 and 1 have a meaning (T.800 I.4), but no writer of DICOM needs it; readers stand still at 0
            return None
        position += length
    return None
