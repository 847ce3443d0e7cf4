"""NRRD by pynrrd: voxels and their affine. The field `space` names the axes of its coordinates, mostly LPS."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from minipacs.errors import Unreadable
from minipacs.formats.file_volume import FileVolume, as_volume, check_shape
from minipacs.formats.geometry import space_to_lps
from minipacs.formats.parsing import translate_parser_errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["read_nrrd"]

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
        check_shape(tuple(int(n) for n in header["sizes"]))
        array = nrrd.read_data(header, stream, str(path or ""), index_order="F")
        return as_volume(_drop_list_axes(array, header), _read_affine(header, array.ndim))


def _read_header_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines up to the empty one, after which the voxels begin; vectors without the blanks pynrrd stumbles over."""
    while line := stream.readline():
        yield re.sub(rb"\s+(?=[^()]*\))", b"", line)
        if not line.strip():
            return


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
