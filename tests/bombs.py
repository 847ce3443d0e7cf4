"""Small files that claim, or unpack to, gigabytes: one maker for each kind, all by code.

`IMAGE_BOMBS` are DICOM files, `FILE_BOMBS` those of an upload. Each is below a few MB.
"""

import bz2
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from itertools import count

import jpeg_ls
import nibabel as nib
import numpy as np
from openjpeg.utils import encode_array
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_objects import as_file, image

SIDE = 64_000
"""Rows and columns that a bomb claims: 4 GB of bytes."""
SMALL = 64
MB = 2**20
_numbers = count(1)


def small_frame() -> np.ndarray:
    """A picture that every codec can encode."""
    return np.arange(SMALL * SMALL, dtype=np.uint8).reshape(SMALL, SMALL)


def jpeg_frame(side: int) -> bytes:
    """A JPEG whose frame header claims this side."""
    stream = io.BytesIO()
    Image.fromarray(small_frame()).save(stream, "JPEG")
    return with_jpeg_size(stream.getvalue(), 0xC0, side)


def with_jpeg_size(frame: bytes, marker: int, side: int) -> bytes:
    """The frame with another size in its SOF (ITU-T T.81 B.2.2)."""
    at = frame.index(bytes((0xFF, marker))) + 5
    return frame[:at] + struct.pack(">HH", side, side) + frame[at + 4 :]


def jpeg_lossless_frame(side: int) -> bytes:
    """A JPEG Lossless header (SOF3), a Huffman table with one code, and some coded bytes."""
    frame_header = struct.pack(">HBHHBBBB", 11, 8, side, side, 1, 1, 0x11, 0)
    huffman = struct.pack(">HB", 20, 0) + bytes((1, *[0] * 15)) + b"\0"
    scan = struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8\xff\xc3" + frame_header + b"\xff\xc4" + huffman + b"\xff\xda" + scan + bytes(1000) + b"\xff\xd9"


def jpeg_ls_frame(side: int) -> bytes:
    """A JPEG-LS whose frame header claims this side."""
    return with_jpeg_size(bytes(jpeg_ls.encode_array(small_frame())), 0xF7, side)


def jpeg_2000_frame(side: int) -> bytes:
    """A JPEG 2000 whose SIZ claims this side, in one tile (ITU-T T.800 A.5.1)."""
    frame = bytes(encode_array(small_frame(), photometric_interpretation=2))
    at = frame.index(b"\xff\x51") + 6
    return frame[:at] + struct.pack(">IIIIII", side, side, 0, 0, side, side) + frame[at + 24 :]


def rle_frame(_side: int) -> bytes:
    """An RLE frame of one segment: 2 bytes make 128 (PS3.5 G.3)."""
    return struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x00" * 20_000


CODECS: Mapping[str, tuple[UID, Callable[[int], bytes]]] = {
    "RLE": (RLELossless, rle_frame),
    "JPEG baseline": (JPEGBaseline8Bit, jpeg_frame),
    "JPEG lossless": (JPEGLosslessSV1, jpeg_lossless_frame),
    "JPEG-LS": (JPEGLSLossless, jpeg_ls_frame),
    "JPEG 2000": (JPEG2000Lossless, jpeg_2000_frame),
    "HTJ2K": (HTJ2KLossless, jpeg_2000_frame),
}


def compressed_image(codec: str, *, header_side: int, codec_side: int, frames: int = 1) -> bytes:
    """A DICOM file of this codec: its header claims the one side, its frame the other."""
    syntax, make = CODECS[codec]
    dataset = image(small_frame(), number=next(_numbers))
    dataset.Rows = dataset.Columns = header_side
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = encapsulate([make(codec_side)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    return as_file(dataset)


def deflate_with_zeros(start: bytes, zeros: int) -> bytes:
    """`start` and so many zeros (whole MB), deflated: one packed MB, repeated: a full flush lets it stand alone."""
    pack = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    begin = pack.compress(start) + pack.flush(zlib.Z_FULL_FLUSH)
    packed_mb = pack.compress(bytes(MB)) + pack.flush(zlib.Z_FULL_FLUSH)
    return begin + packed_mb * (zeros // MB) + pack.flush(zlib.Z_FINISH)


def deflated_image(unpacked: int = 640 * MB) -> bytes:
    """A deflated file (PS3.5 A.5) whose Pixel Data is this many zeros; a thousandth of it, packed."""
    dataset = image(small_frame(), number=next(_numbers))
    dataset.Rows = dataset.Columns = int(unpacked**0.5)
    del dataset.PixelData
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    whole = as_file(dataset)
    start = 144 + struct.unpack_from("<I", whole, 140)[0]  # after (0002,0000), which tells how long the group is

    header = zlib.decompress(whole[start:], -zlib.MAX_WBITS)
    packed = deflate_with_zeros(header + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, unpacked), unpacked)
    return whole[:start] + packed + b"\0" * (len(packed) % 2)


IMAGE_BOMBS: dict[str, Callable[[], bytes]] = {
    "deflate": deflated_image,
    **{
        f"{codec}, header claims 4 GB": (
            lambda codec=codec: compressed_image(codec, header_side=SIDE, codec_side=SIDE)  # type: ignore[misc]
        )
        for codec in CODECS
    },
    **{
        f"{codec}, frame claims 4 GB": (
            lambda codec=codec: compressed_image(codec, header_side=SMALL, codec_side=SIDE)  # type: ignore[misc]
        )
        for codec in CODECS
        if codec != "RLE"
    },
    "JPEG baseline, 2 billion frames": lambda: compressed_image(
        "JPEG baseline", header_side=SMALL, codec_side=SMALL, frames=2_000_000_000
    ),
}
"""DICOM files by kind."""


# -- uploads ----------------------------------------------------------------------------------------
def gzip_zeros(start: bytes, zeros: int) -> bytes:
    """`start` and so many zeros (whole MB), as gzip: in one member, with the right checksum."""
    checksum = zlib.crc32(start)
    for _ in range(zeros // MB):
        checksum = zlib.crc32(bytes(MB), checksum)
    head = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, 0, 0, 0, 255)
    return head + deflate_with_zeros(start, zeros) + struct.pack("<II", checksum, (len(start) + zeros) % 2**32)


def bzip2_zeros(zeros: int) -> bytes:
    """So many zeros, as bzip2; packed in parts, so that the maker needs no memory either."""
    packer = bz2.BZ2Compressor()
    return b"".join(packer.compress(bytes(16 * MB)) for _ in range(zeros // (16 * MB))) + packer.flush()


def nifti_header(side: int, extension: int = 0) -> bytes:
    """A NIfTI-1 header of a cube of this side, uint8; `extension`: bytes its first extension claims."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((side, side, side))
    header["sform_code"] = 1
    header["srow_x"], header["srow_y"], header["srow_z"] = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)
    header["magic"], header["vox_offset"] = b"n+1", 352 + extension
    return bytes(header.binaryblock) + (struct.pack("<4B", 1, 0, 0, 0) if extension else bytes(4))


def nifti_gzip(side: int = 1500) -> bytes:
    """A packed NIfTI whose header claims this side, 3.4 GB, and which does unpack to more than it may."""
    return gzip_zeros(nifti_header(side), 320 * MB)


def nifti_gzip_beyond_its_header() -> bytes:
    """A packed NIfTI of a small volume, with an extension of 320 MB."""
    size = 320 * MB
    return gzip_zeros(nifti_header(SMALL, size) + struct.pack("<II", size, 6), size)


def nrrd(encoding: str, side: int, unpacked: int) -> bytes:
    """An NRRD whose sizes are this side, and whose voxels unpack to so many bytes."""
    lines = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: {side} {side} {side}\nencoding: {encoding}\n\n"
    return lines.encode() + (bzip2_zeros(unpacked) if encoding == "bzip2" else gzip_zeros(b"", unpacked))


def zip_of(content: bytes, compression: int, *, claimed: int | None = None) -> bytes:
    """A ZIP of one file; `claimed`: the size that its lists give instead of the true one."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive, archive.open("a.dcm", "w", force_zip64=False) as entry:
        entry.write(content)
    packed = stream.getvalue()
    if claimed is None:
        return packed
    return packed.replace(struct.pack("<I", len(content)), struct.pack("<I", claimed))


def zip_of_many_files(number: int = 200_000) -> bytes:
    """A ZIP whose list of files is long, and whose files are one and the same."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", b"")
    whole = stream.getvalue()
    start, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    entries = whole[start:end] * number
    tail = struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(entries), start, 0)
    return whole[:start] + entries + tail


FILE_BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip NIfTI, header claims 3.4 GB": ("a.nii.gz", nifti_gzip),
    "gzip NIfTI, extension of 320 MB": ("b.nii.gz", nifti_gzip_beyond_its_header),
    "gzip NRRD, sizes claim 3.4 GB": ("c.nrrd", lambda: nrrd("gzip", 1500, 320 * MB)),
    "gzip NRRD, more than its sizes": ("d.nrrd", lambda: nrrd("gzip", SMALL, 320 * MB)),
    "bzip2 NRRD, more than its sizes": ("e.nrrd", lambda: nrrd("bzip2", SMALL, 320 * MB)),
    "ZIP, deflate": ("f.zip", lambda: zip_of(bytes(300 * MB), zipfile.ZIP_DEFLATED)),
    "ZIP, LZMA with a false size": ("g.zip", lambda: zip_of(bytes(300 * MB), zipfile.ZIP_LZMA, claimed=MB)),
    "ZIP, bzip2 with a false size": ("h.zip", lambda: zip_of(bytes(300 * MB), zipfile.ZIP_BZIP2, claimed=MB)),
    "ZIP, 200,000 files": ("i.zip", zip_of_many_files),
}
"""Name and content of uploads by kind; each image bomb is one, too."""


def png_bomb(side: int = SIDE) -> bytes:
    """A PNG whose IHDR claims this side, all zeros: for the older clients' pictures."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(MB))) + chunk(b"IEND", b"")
    )


PICTURE_BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG, header claims 4 GB": png_bomb,
    "JPEG, header claims 4 GB": lambda: jpeg_frame(SIDE),
}
"""Pictures of the older clients' `/get_sam`… routes by kind."""
