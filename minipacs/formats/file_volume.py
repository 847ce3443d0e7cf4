"""The volume of a NIfTI or NRRD file: its voxels, and the place of each in the patient."""

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from minipacs.errors import Unreadable
from minipacs.memory.size_limits import check_volume_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FileVolume:
    """The volume of a file; both formats count the fastest index first."""

    array: "NDArray[Any]"
    """(columns, rows, slices) as the file has them, whole numbers or fractions; mostly three axes, never a last one
    of length 1."""
    affine: "NDArray[np.float64]"
    """(4, 4): indices, 0-based, to LPS mm; it may be left-handed or sheared."""


def check_shape(shape: "tuple[int, ...]", bytes_per_voxel: int) -> int:
    """The bytes of the voxels that a header promises, before memory is taken for them.

    Raises `Unreadable` for a shape that is not valid, `ExceedsMemory` for more than a volume may take.
    """
    if not shape or min(shape) < 0:
        raise Unreadable(f"The volume has the shape {shape}.", "Check the file.")

    size = prod(shape) * bytes_per_voxel
    check_volume_size(size, f"The volume of shape {shape}")
    return size


def as_volume(array: "NDArray[Any]", affine: "NDArray[np.float64]") -> FileVolume:
    """A checked `FileVolume`; raises `Unreadable` for voxels that are no real numbers or an affine without spacing."""
    import numpy as np

    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype.kind not in "iuf":
        raise Unreadable("The volume's voxels are not grey values: each holds several numbers.", "Send grey values.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Unreadable("The volume has voxels that are not numbers.", "Give them a value, for example air.")
    if not np.isfinite(affine).all() or (np.linalg.norm(affine[:3, :3], axis=0) <= 0).any():
        raise Unreadable("The volume's affine has no spacing.", "Check the file.")
    return FileVolume(array, affine)
