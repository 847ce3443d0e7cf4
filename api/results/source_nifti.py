"""The images a label map was made from, as NIfTI on the label map's own grid: the picture under an overlay."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.context import AppContext
from minipacs.errors import NotAVolume, NotInArchive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OFF_GRID = 0.1
"""Voxels an image may lie beside the grid."""


def made(context: AppContext, label_map: Path, series_instance_uid: str) -> Path:
    """The file; made when it is asked for first, and kept in HOME/cache."""
    file = context.settings.home / "cache" / "source" / f"{series_instance_uid}-{label_map.stat().st_mtime_ns}.nii.gz"
    if file.is_file():
        return file
    found = context.archive.find("Series", series_instance_uid)
    if not found:
        raise NotInArchive("The archive does not hold the images of this series any more.", "Send them again.")
    _, series = context.archive.series(found[0])
    import nibabel as nib

    from minipacs.formats.nifti import read_grid

    shape, affine = read_grid(label_map)
    array = onto(shape, affine, context.archive.datasets(key for _, key in series.instances))
    packed = gzip.compress(nib.Nifti1Image(array, affine).to_bytes(), 1, mtime=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}")
    partial.write_bytes(packed)
    partial.replace(file)
    return file


def onto(shape: tuple[int, ...], affine: "NDArray[np.float64]", images: Iterable[Any]) -> "NDArray[np.int16]":
    """Modality values (HU for CT) at the voxels `(i, j, k)` of a grid; `affine` leads to RAS, mm, as NIfTI's do.

    Raises `NotAVolume` for images that do not lie on the grid.
    """
    import numpy as np

    from minipacs.formats.geometry import ras_to_lps
    from minipacs.formats.grey_header import read_pipeline

    to_grid = np.linalg.inv(ras_to_lps(affine))
    volume = np.zeros(shape, np.int16)
    for ds in images:
        if "ImageOrientationPatient" not in ds or "ImagePositionPatient" not in ds:
            raise NotAVolume("An image has no position of its own.", "Look at the series in OHIF.")
        cosines = np.array(ds.ImageOrientationPatient, float)
        between_rows, between_columns = (float(v) for v in ds.PixelSpacing)  # PS3.3 10.7.1.3
        start = to_grid @ [*(float(v) for v in ds.ImagePositionPatient), 1]
        along_row = to_grid[:3, :3] @ (cosines[:3] * between_columns)
        along_column = to_grid[:3, :3] @ (cosines[3:] * between_rows)
        r, c = np.mgrid[: ds.Rows, : ds.Columns]
        places = start[:3, None, None] + along_row[:, None, None] * c + along_column[:, None, None] * r
        at = np.rint(places).astype(np.intp)
        if np.abs(places - at).max() > OFF_GRID or (at < 0).any() or (at >= np.array(shape)[:, None, None]).any():
            raise NotAVolume("The images do not lie on the label map's grid.", "Look at the series in OHIF.")
        values = read_pipeline(ds, 0).to_modality(ds.pixel_array)
        volume[at[0], at[1], at[2]] = np.clip(np.rint(values), -32768, 32767)
    return volume
