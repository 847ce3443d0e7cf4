"""NIfTI-1 and NIfTI-2 by nibabel: reading them, and images with an affine. NIfTI's coordinates are RAS, mm.

Of the two transforms a file may hold, the sform comes before the qform, as nibabel has it.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from minipacs.errors import ExceedsMemory, Unreadable
from minipacs.formats.file_volume import FileVolume, as_volume, check_shape
from minipacs.formats.geometry import lps_to_ras, ras_to_lps, reverse_index_order
from minipacs.formats.parsing import translate_parser_errors
from minipacs.memory.bounded_stream import BoundedStream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["VoxelLayout", "new_image", "read_grid", "read_layout", "read_nifti", "unpack_nifti"]

NIFTI1_HEADER, NIFTI2_HEADER = 348, 540
"""Bytes of a header; its first word, `sizeof_hdr`, says so."""
MAX_HEADER_BYTES = 16 * 2**20
"""Of the header and its extensions, unpacked: before it is known how many bytes the voxels have."""
FLOAT64_BYTES = 8
GZIP = b"\x1f\x8b"
MILLIMETRES = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}
"""Of `xyzt_units`; a file that says nothing is in mm."""


@dataclass(frozen=True)
class VoxelLayout:
    """Where the voxels of an unpacked file lie, and what they are."""

    dtype: "np.dtype[Any]"
    """With the file's own byte order."""
    offset: int
    """Bytes before the first voxel."""
    is_scaled: bool
    """Whether the stored values are to be multiplied or moved."""
    end: int
    """Bytes up to the last voxel, as the header promises."""


def read_nifti(stream: IO[bytes]) -> FileVolume:
    """The volume of a NIfTI file, packed by gzip or not; raises `Unreadable`."""
    import numpy as np

    with _translate_errors():
        image, bounded = _open_image(stream)
        stored = int(image.dataobj.dtype.itemsize)
        check_shape(image.shape, FLOAT64_BYTES if _is_scaled(image) else stored)

        if bounded is not None:
            bounded.limit = int(image.dataobj.offset) + stored * prod(image.shape)
        return as_volume(np.asanyarray(image.dataobj), ras_to_lps(_read_affine_mm(image)))


def read_grid(path: Path) -> "tuple[tuple[int, ...], NDArray[np.float64]]":
    """Shape, and affine from indices to RAS mm, of a NIfTI file whose voxels are not read; raises `Unreadable`."""
    with path.open("rb") as stream, _translate_errors():
        image, _bounded = _open_image(stream)
        return tuple(image.shape), _read_affine_mm(image)


def unpack_nifti(file: bytes) -> bytearray:
    """The bytes of a NIfTI-1 file, packed by gzip or not, up to its last voxel; no more is unpacked than that.

    Raises `ExceedsMemory` for more than a volume may take, `Unreadable` for fewer voxels than the header promises.
    """
    from isal import igzip

    with _translate_errors():
        stream: Any = igzip.IGzipFile(fileobj=BytesIO(file)) if file[:2] == GZIP else BytesIO(file)
        raw = bytearray(stream.read(NIFTI1_HEADER))
        layout = read_layout(raw)
        if layout.offset > MAX_HEADER_BYTES:
            raise ExceedsMemory(f"The NIfTI header has more than {MAX_HEADER_BYTES} bytes.", "Check the file.")
        raw += stream.read(layout.end - len(raw))
    if len(raw) < layout.end:
        raise Unreadable("The NIfTI file ends before its last voxel.", "Check the file.")
    return raw


def read_layout(raw: bytes | bytearray) -> VoxelLayout:
    """How the voxels of an unpacked NIfTI-1 file lie in it, for those who change them in place; of the file, its header
    is enough.

    A label map is filtered in the bytes of its file: a reader would cost a second copy, and the header, which must
    stay as it is to the last byte, would be written anew. Raises `Unreadable`, and `ExceedsMemory` for more voxels than
    a volume may have.
    """
    import nibabel as nib

    if len(raw) < NIFTI1_HEADER or NIFTI1_HEADER not in _possible_header_sizes(raw):
        raise Unreadable("The file is not NIfTI-1: its header does not begin with 348.", "Choose a `.nii.gz`.")
    with _translate_errors():
        header = nib.Nifti1Header(bytes(raw[:NIFTI1_HEADER]), check=False)
        slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
        is_scaled = slope == slope and slope != 0 and (slope, intercept) != (1, 0)
        dtype, offset = header.get_data_dtype(), int(header["vox_offset"])
        size = check_shape(tuple(int(n) for n in header.get_data_shape()), dtype.itemsize)
        if offset < NIFTI1_HEADER:
            raise Unreadable("The voxels begin within the header (NIfTI-1 `vox_offset`).", "Check the file.")
        return VoxelLayout(dtype, offset, is_scaled, offset + size)


def new_image(array: "NDArray[Any]", affine: "NDArray[np.float64]") -> Any:
    """A `nibabel.Nifti1Image` of voxels (slices, rows, columns) whose affine leads to LPS mm.

    Its indices are (column, row, slice); sform and qform both lead to RAS mm.
    """
    import nibabel as nib

    to_ras = lps_to_ras(reverse_index_order(affine))
    image = nib.Nifti1Image(array.transpose(2, 1, 0), to_ras, dtype=array.dtype)
    image.set_sform(to_ras, code=1)  # 1: scanner anatomical
    image.set_qform(to_ras, code=1)
    image.header.set_xyzt_units("mm")
    return image


def _open_image(stream: IO[bytes]) -> "tuple[Any, BoundedStream | None]":
    """A nibabel image whose voxels are still in the stream: they are unpacked where they will stay.

    A packed stream gives its header and extensions first, and the voxels once its limit is raised.
    """
    import nibabel as nib
    from isal import igzip

    packed = stream.read(2) == GZIP
    stream.seek(0)
    bounded = BoundedStream(igzip.IGzipFile(fileobj=stream), MAX_HEADER_BYTES, "The NIfTI file") if packed else None
    plain: Any = stream if bounded is None else bounded
    sizes = _possible_header_sizes(plain.read(4))
    plain.seek(0)
    return (nib.Nifti2Image if NIFTI2_HEADER in sizes else nib.Nifti1Image).from_stream(plain), bounded


def _is_scaled(image: Any) -> bool:
    """Whether stored values are multiplied or moved: then they become float64."""
    return (float(image.dataobj.slope), float(image.dataobj.inter)) != (1.0, 0.0)


def _possible_header_sizes(beginning: bytes | bytearray) -> tuple[int, int]:
    """The size of the header, which is the first word of the file, in either byte order."""
    return int.from_bytes(beginning[:4], "little"), int.from_bytes(beginning[:4], "big")


def _read_affine_mm(image: Any) -> "NDArray[np.float64]":
    """The affine from indices to RAS mm, whatever the file's unit of length is."""
    import numpy as np

    try:
        unit = image.header.get_xyzt_units()[0]
    except KeyError:
        unit = "unknown"
    factor = MILLIMETRES.get(unit, 1.0)
    return np.asarray(np.diag([factor, factor, factor, 1.0]) @ image.affine, np.float64)


def _translate_errors() -> AbstractContextManager[None]:
    """Errors of nibabel and gzip become `Unreadable`."""
    return translate_parser_errors("The file is not NIfTI, or it is broken", "Check the file.", quote=True)
