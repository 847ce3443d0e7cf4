"""The images that a label map was made from, as NIfTI on the label map's own grid: the picture under an overlay."""

import gzip
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from api.context import AppContext
from api.results.result_folders import read_file_stats
from api.uploads.upload_file import check_free_space
from minipacs.errors import NotAVolume, NotInArchive
from minipacs.files import replace_private
from minipacs.formats.parsing import translate_parser_errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom import Dataset

MAX_OFF_GRID = 0.1
"""Voxels that a pixel's centre may lie beside the grid's."""
GZIP_LEVEL = 1
MAX_KEPT_BYTES = 4 * 2**30
"""Of all such files: beyond it the oldest are deleted; they are made again when they are asked for."""
MAKING = threading.Lock()
"""A process makes one at a time: each takes the memory of a volume."""


def ensure_source_nifti(context: AppContext, label_map: Path, series_instance_uid: str) -> Path:
    """The file of a label map's images. Made at the first request, kept in HOME/cache as long as there is room."""
    changed = label_map.stat().st_mtime_ns
    file = context.settings.home / "cache" / "source" / f"{series_instance_uid}-{changed}.nii.gz"
    if not file.is_file():
        with context.wait_limits.wait_for("images under a label map"), MAKING:
            if not file.is_file():  # made while this request waited
                _write_source_nifti(context, label_map, series_instance_uid, file)
    return file


def _write_source_nifti(context: AppContext, label_map: Path, series_instance_uid: str, file: Path) -> None:
    found = context.archive.find_ids("Series", series_instance_uid)
    if not found:
        raise NotInArchive("The archive does not hold the images of this series any more.", "Send them again.")
    _, series = context.archive.read_series(found[0])
    images = context.archive.read_datasets(instance.instance_id for instance in series.instances)

    with translate_parser_errors("An image of the series has a broken element", kind=NotAVolume):
        content = make_source_nifti(label_map, images)
    file.parent.mkdir(parents=True, exist_ok=True)
    delete_oldest_files(file.parent, MAX_KEPT_BYTES - len(content))
    check_free_space(context.settings, len(content))
    with replace_private(file) as stream:
        stream.write(content)


def delete_oldest_files(folder: Path, most_bytes: int) -> None:
    """Delete files, the oldest first, until the others take no more than so many bytes."""
    files = sorted(read_file_stats(folder), key=lambda one: one[1].st_mtime, reverse=True)
    kept = 0
    for file, stat in files:
        kept += stat.st_size
        if kept > most_bytes:
            file.unlink(missing_ok=True)  # who reads it reads on


def make_source_nifti(label_map: Path, images: "Iterable[Dataset]") -> bytes:
    """The images as `.nii.gz`, on the grid of a label map."""
    import nibabel as nib

    from minipacs.formats.nifti import read_grid

    shape, affine = read_grid(label_map)
    image = nib.Nifti1Image(place_on_grid(shape, affine, images), affine)
    return gzip.compress(image.to_bytes(), GZIP_LEVEL, mtime=0)


def place_on_grid(
    shape: tuple[int, ...], affine: "NDArray[np.float64]", images: "Iterable[Dataset]"
) -> "NDArray[np.int16]":
    """Modality values (HU for CT) at the voxels `(i, j, k)` of a grid; `affine` leads to RAS, mm, as NIfTI's do.

    Raises `NotAVolume` for images that do not lie on the grid.
    """
    import numpy as np

    from minipacs.formats.decode_pixels import decode_all_pixels
    from minipacs.formats.geometry import ras_to_lps
    from minipacs.formats.grey_header import read_pipeline

    to_grid = np.linalg.inv(ras_to_lps(affine)).astype(np.float64)
    volume = np.zeros(shape, np.int16)
    for image in images:
        voxels = _locate_pixels(image, to_grid)
        nearest = np.rint(voxels).astype(np.intp)

        is_off = np.abs(voxels - nearest).max() > MAX_OFF_GRID
        is_outside = (nearest < 0).any() or (nearest >= np.array(shape)[:, None, None]).any()
        if is_off or is_outside:
            raise NotAVolume("The images do not lie on the label map's grid.", "Look at the series in OHIF.")

        values = read_pipeline(image, 0).to_modality(decode_all_pixels(image))
        volume[nearest[0], nearest[1], nearest[2]] = np.clip(np.rint(values), -32768, 32767)
    return volume


def _locate_pixels(image: "Dataset", to_grid: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """For every pixel of an image its place on the grid, in voxels: shape (3, rows, columns)."""
    import numpy as np

    if "ImageOrientationPatient" not in image or "ImagePositionPatient" not in image:
        raise NotAVolume("An image has no position of its own.", "Look at the series in OHIF.")
    cosines = np.array(image.ImageOrientationPatient, float)
    between_rows, between_columns = (float(v) for v in image.PixelSpacing)  # PS3.3 10.7.1.3

    start = to_grid @ [*(float(v) for v in image.ImagePositionPatient), 1]
    along_row = to_grid[:3, :3] @ (cosines[:3] * between_columns)
    along_column = to_grid[:3, :3] @ (cosines[3:] * between_rows)
    rows, columns = np.mgrid[: image.Rows, : image.Columns]
    voxels: NDArray[np.float64] = (
        start[:3, None, None] + along_row[:, None, None] * columns + along_column[:, None, None] * rows
    )
    return voxels
