"""A volume in one file, NIfTI or NRRD: which of the two it is, and its reader."""

from pathlib import Path
from typing import IO

from minipacs.formats.file_volume import FileVolume
from minipacs.formats.nifti import read_nifti
from minipacs.formats.nrrd import read_nrrd

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".hdr")


def is_volume_file(name: str, beginning: bytes = b"") -> bool:
    """Whether it is NIfTI or NRRD, by its name or, where they are known, its first bytes."""
    return name.lower().endswith(SUFFIXES) or beginning[:4] in (b"NRRD", b"\x5c\x01\x00\x00")


def read_volume(stream: IO[bytes], path: Path | None = None) -> FileVolume:
    """The volume of a NIfTI or NRRD file; raises `Unreadable`.

    `path`: where the file lies, if an NRRD may name another file for its voxels; without it, it may not.
    """
    beginning = stream.read(4)
    stream.seek(0)
    if beginning == b"NRRD":
        return read_nrrd(stream, path)
    return read_nifti(stream)
