"""NRRD by pynrrd: voxels and their affine. The field `space` names the axes of its coordinates, mostly LPS."""

import bz2
import re
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from io import SEEK_CUR, SEEK_END, BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from minipacs.errors import Unreadable
from minipacs.formats.file_volume import FileVolume, as_volume, check_shape
from minipacs.formats.geometry import space_to_lps
from minipacs.formats.parsing import translate_parser_errors
from minipacs.memory.size_limits import check_volume_size, current_limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["read_nrrd"]

MAX_HEADER_BYTES = 2**20
"""Of the lines before the voxels, together."""
VECTOR, BLANKS = re.compile(rb"\([^()]*\)"), re.compile(rb"\s+")
PACKED: Any = {
    "gzip": partial(zlib.decompressobj, zlib.MAX_WBITS | 16),
    "gz": partial(zlib.decompressobj, zlib.MAX_WBITS | 16),
    "bzip2": bz2.BZ2Decompressor,
    "bz2": bz2.BZ2Decompressor,
}
"""What unpacks an encoding."""
TEXT = ("ASCII", "ascii", "text", "txt")
"""Names of the encoding as text."""
MAX_TEXT_PER_VOXEL = 32
"""Bytes: a float64 has up to 24, and blanks."""
SKIPS = ("lineskip", "line skip", "byteskip", "byte skip", "datafile", "data file")
BYTES_BY_WORD = {"char": 1, "short": 2, "long": 8, "int": 4, "float": 4, "double": 8}
SPACES = {"left-posterior-superior": "LPS", "right-anterior-superior": "RAS", "left-anterior-superior": "LAS"}
"""Names of the format, and their short forms; any other space is taken for LPS, as ITK does."""


def read_nrrd(stream: IO[bytes], path: Path | None = None) -> FileVolume:
    """The volume of an NRRD file, its data raw, as text, or packed by gzip or bzip2; raises `Unreadable`.

    `path`: where the file lies; a header that lies alone (`data file`) is followed from there, and only then.
    """
    import nrrd

    with translate_parser_errors("The file is not NRRD, or it is broken", "Check the file.", quote=True):
        header = nrrd.read_header(_read_header_lines(stream))
        if path is None and ("data file" in header or "datafile" in header):
            raise Unreadable("The NRRD's voxels lie in another file.", "Send it with its data attached.")
        array = _read_voxels(header, stream, path)
        return as_volume(_drop_list_axes(array, header), _read_affine(header, array.ndim))


def _read_header_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines up to the empty one, after which the voxels begin; vectors without the blanks pynrrd stumbles over."""
    left = MAX_HEADER_BYTES
    while line := stream.readline(left):
        yield VECTOR.sub(lambda vector: BLANKS.sub(b"", vector[0]), line)
        left -= len(line)
        if not line.strip() or not left:
            return


def _read_voxels(header: Any, stream: IO[bytes], path: Path | None) -> Any:
    """The voxels, behind the header or in a file of their own; no more is read or unpacked than the header promises."""
    import nrrd

    size = check_shape(tuple(int(n) for n in header["sizes"]), _read_bytes_per_voxel(str(header.get("type"))))
    encoding = str(header.get("encoding"))
    if encoding not in ("raw", *PACKED, *TEXT):
        raise Unreadable(f"The NRRD's encoding {encoding!r} is not read.", "Write it raw or gzipped.")

    data_file = header.get("data file", header.get("datafile"))
    with ((path or Path()).parent / data_file).open("rb") if data_file else nullcontext(stream) as source:
        lines, skipped = (int(header.get(f"{kind}skip", header.get(f"{kind} skip", 0))) for kind in ("line", "byte"))
        if lines < 0 or skipped < -1:
            raise Unreadable("The NRRD skips a negative number of lines or bytes.", "Check the file.")
        for _ in range(lines):
            source.readline(MAX_HEADER_BYTES)
        if encoding in TEXT:
            content = _read_text(source, size, max(1, _read_bytes_per_voxel(str(header.get("type")))), skipped)
        else:
            read = _read_raw_voxels if encoding == "raw" else _unpack_voxels
            content = read(source, encoding, size, skipped)

    without_skips = {key: value for key, value in header.items() if key not in SKIPS}
    without_skips["encoding"] = encoding if encoding in TEXT else "raw"
    return nrrd.read_data(without_skips, BytesIO(content), index_order="F")


def _read_raw_voxels(source: IO[bytes], _encoding: str, size: int, skipped: int) -> bytes:
    """The bytes of voxels that are not packed; `skipped`: bytes before them, −1 where they end the file."""
    source.seek(*((-size, SEEK_END) if skipped == -1 else (skipped, SEEK_CUR)))
    return source.read(size)


def _read_text(source: IO[bytes], size: int, bytes_per_voxel: int, skipped: int) -> bytes:
    """The text of voxels that are written as numbers; `skipped`: bytes before it.

    Raises `Unreadable` for more text than so many voxels can have, `ExceedsMemory` for numbers that could take more
    memory than a volume may: each has a digit and a blank at least.
    """
    if skipped == -1:
        raise Unreadable("The NRRD has text that ends the file, without saying where it begins.", "Write it as raw.")
    source.seek(skipped, SEEK_CUR)

    promised = size // bytes_per_voxel * MAX_TEXT_PER_VOXEL + MAX_HEADER_BYTES
    text = source.read(min(promised, 2 * current_limits().volume_bytes // bytes_per_voxel) + 2)
    if len(text) > promised:
        raise Unreadable(f"The NRRD has more text than the {size} bytes that its sizes promise.", "Check the file.")
    check_volume_size(len(text) // 2 * bytes_per_voxel, "The NRRD's text")
    return text


def _unpack_voxels(source: IO[bytes], encoding: str, size: int, skipped: int) -> bytes:
    """The bytes of packed voxels; `skipped`: unpacked bytes before them, −1 where they come last.

    Raises `Unreadable` where they are more than promised.
    """
    limit = size + (MAX_HEADER_BYTES if skipped == -1 else skipped)
    check_volume_size(limit, "The NRRD")
    unpack: Any = PACKED[encoding]()
    unpacked: bytes = unpack.decompress(source.read(), limit + 1)
    if len(unpacked) > limit:
        raise Unreadable(f"The NRRD unpacks to more than the {size} bytes that its sizes promise.", "Check the file.")
    return unpacked[-size:] if skipped == -1 else unpacked[skipped:]


def _read_bytes_per_voxel(kind: str) -> int:
    """Of a type by any of its names: `short`, `uint16_t`, `unsigned int`; 8 for one that is unknown."""
    digits = "".join(letter for letter in kind if letter.isdigit())
    if digits:
        return int(digits) // 8
    return next((size for word, size in BYTES_BY_WORD.items() if word in kind), 8)


def _drop_list_axes(array: "NDArray[Any]", header: Any) -> "NDArray[Any]":
    """The voxels without axes that are not spatial (`none`) and have one entry."""
    import numpy as np

    directions = header.get("space directions")
    if directions is None:
        return array
    lists = np.isnan(np.asarray(directions, float)).any(axis=1)
    return array.squeeze(tuple(k for k in np.flatnonzero(lists) if array.shape[k] == 1))


def _read_affine(header: Any, axes: int) -> "NDArray[np.float64]":
    """The affine from indices to LPS mm. A file without directions has its axes along x, y and z."""
    import numpy as np

    directions = header.get("space directions")
    if directions is None:
        spacings = np.nan_to_num(np.asarray(header.get("spacings", np.ones(axes)), float), nan=1.0)
        directions = np.diag(spacings[:3])
    directions = np.asarray(directions, float)
    directions = directions[~np.isnan(directions).any(axis=1)]  # axes that are not spatial: `none`
    affine = np.eye(4)
    affine[:3, :3] = directions[:3].T
    affine[:3, 3] = header.get("space origin", np.zeros(3))
    space = str(header.get("space", "")).lower().removesuffix("-time")
    return space_to_lps(affine, SPACES.get(space, space.upper()))
