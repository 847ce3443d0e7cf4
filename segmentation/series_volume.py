"""The volume of a series of DICOM images, or of one NIfTI or NRRD file.

A series that breaks a rule of `volume_rules.py` is refused: SimpleITK and the SEG encoder accept a
gap, a tilted gantry and repeated positions without complaint, and every mesh and millilitre made from
them would be wrong.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from minipacs.errors import NotAVolume, Unreadable
from minipacs.formats.decode_pixels import check_pixel_claim, decode_all_pixels
from minipacs.formats.dicom_file import read_dicom
from minipacs.formats.geometry import reverse_index_order
from minipacs.formats.grey_header import read_pipeline
from minipacs.formats.hounsfield import is_hounsfield
from minipacs.formats.parsing import translate_parser_errors
from minipacs.formats.uids import check_uid
from minipacs.formats.volume_file import is_volume_file, read_volume
from minipacs.memory.process_limit import explain_memory_error
from minipacs.memory.size_limits import check_volume_size
from segmentation.identity import derive_uid
from segmentation.volume_rules import (
    check_grid,
    check_hounsfield,
    check_single_grey_frames,
    compute_normal,
    explain_irregularity,
    is_localiser,
    keep_images_of_modality,
    make_refusal,
    read_position,
    refuse,
)

if TYPE_CHECKING:
    from highdicom import Volume

MIN_SLICES = 10
"""Fewer planes are pictures, not a volume."""
IDENTIFYING_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
DECODERS = 2
"""Images decoded at once."""


@dataclass(frozen=True)
class Slices:
    """A series that is a regular stack: its images in order along the normal, and where they lie."""

    images: tuple[Dataset, ...]
    """Increasing along row cosine × column cosine: for axial images from the feet to the head."""
    affine: NDArray[np.float64]
    """(4, 4): (slice, row, column) indices, 0-based, to LPS mm."""

    def drop_pixels(self) -> None:
        """Delete the Pixel Data of the images, once they are decoded."""
        for image in self.images:
            del image.PixelData


def read_images(files: Iterable[Path | BytesIO]) -> list[Dataset]:
    """The DICOM files, with pixels still encoded; raises `Unreadable` at the first that is none."""
    images: list[Dataset] = []
    for number, file in enumerate(files, 1):
        name = file.name if isinstance(file, Path) else f"instance {number}"
        images.append(_fill_missing_uids(read_dicom(file, name)))
        if "Rows" in images[-1] and "PixelData" not in images[-1]:
            raise Unreadable(f"{name} is not a whole DICOM file: it has no pixels.", "Send the series again.")

    return images


@translate_parser_errors("An image has a broken element", "Send the series again.")
def _fill_missing_uids(image: Dataset) -> Dataset:
    """Fill UIDs that careless anonymisers empty: from the file meta, and one frame of reference a series.

    What stands there and is no UID is refused: it becomes the name of a folder.

    Without a Frame of Reference UID a series still is one space of its own: it gets a derived UID.
    """
    meta = getattr(image, "file_meta", Dataset())
    for keyword, kept in (("SOPClassUID", "MediaStorageSOPClassUID"), ("SOPInstanceUID", "MediaStorageSOPInstanceUID")):
        if not image.get(keyword) and meta.get(kept):
            setattr(image, keyword, meta.get(kept))

    if not image.get("FrameOfReferenceUID") and image.get("SeriesInstanceUID"):
        image.FrameOfReferenceUID = derive_uid(str(image.SeriesInstanceUID), "frame of reference")

    for keyword in IDENTIFYING_UIDS:
        if image.get(keyword):
            check_uid(str(image.get(keyword)), keyword)

    return image


@translate_parser_errors("An image of the series has a broken element", "Send the series again.", kind=NotAVolume)
def stack_images(images: Sequence[Dataset], modalities: Iterable[str] = (), minimum: int = MIN_SLICES) -> Slices:
    """The images as a regular stack; raises `NotAVolume`, naming the first rule that is broken.

    Localisers filed within a series are left out. `modalities`: those the engine takes; empty: any.
    """
    from highdicom.spatial import get_volume_positions

    images = keep_images_of_modality(images, modalities)
    check_single_grey_frames(images)

    images = [image for image in images if not is_localiser(image)]
    if not images:
        refuse("it is a localiser (scout), not a volume")
    if len(images) < minimum:
        refuse(f"it has {len(images)} images; a volume needs {minimum}")

    check_grid(images)
    check_hounsfield(images)

    spacing, order = get_volume_positions([list(read_position(i)) for i in images], images[0].ImageOrientationPatient)
    if spacing is None or order is None:
        raise make_refusal(explain_irregularity(images))

    sorted_images = [image for _, image in sorted(zip(order, images, strict=True), key=lambda pair: pair[0])]
    if float(np.dot(read_position(sorted_images[-1]) - read_position(sorted_images[0]), compute_normal(images[0]))) < 0:
        sorted_images.reverse()

    return Slices(tuple(sorted_images), _compute_affine(sorted_images))


def load_volume(slices: Slices) -> "Volume":
    """The stack with its modality values: int16 where they are whole numbers in its range, else float32.

    `highdicom.Volume`, array (slices, rows, columns), C-contiguous; CT in HU (PS3.3 C.11.1).
    Raises `ExceedsMemory`, before anything is decoded, for more than a volume may take.
    """
    from highdicom import Volume

    check_volume_size(sum(check_pixel_claim(image) for image in slices.images), "The series")

    try:
        with ThreadPoolExecutor(DECODERS) as pool:
            planes = list(pool.map(decode_modality_values, slices.images))

        whole = all(plane.dtype == np.int16 for plane in planes)
        array = np.stack(planes).astype(np.int16 if whole else np.float32, copy=False)
    except MemoryError as error:
        raise explain_memory_error() from error

    return Volume(array, slices.affine, "PATIENT", str(slices.images[0].FrameOfReferenceUID))


def is_single_volume_file(file: Path) -> bool:
    """Whether it is a volume in one file, NIfTI or NRRD, by its name."""
    return is_volume_file(file.name)


def read_volume_and_modality(file: Path, modalities: Iterable[str] = (), modality: str = "") -> tuple["Volume", str]:
    """A NIfTI or NRRD volume in LPS mm, and its modality: the one given, else CT where values say so."""
    volume = read_volume_file(file)
    found = modality or ("CT" if is_hounsfield(volume.array.min()) else "MR")
    taken = sorted(modalities)
    if taken and found not in taken:
        refuse(f"it is {found}; the engine takes {' and '.join(taken)}")

    return volume, found


def read_volume_file(file: Path, *, follows: bool = True) -> "Volume":
    """A NIfTI or NRRD volume in LPS mm: array (slices, rows, columns) as the file has them.

    The affine may be left-handed. `follows`: whether an NRRD may name another file for its voxels. Raises `Unreadable`
    and `NotAVolume`.
    """
    from highdicom import Volume

    try:
        with file.open("rb") as stream:
            read = read_volume(stream, file if follows else None)
    except Unreadable as error:
        raise Unreadable(f"{file.name}: {error.message}", error.hint) from error
    except OSError as error:
        raise Unreadable(f"{file.name} cannot be opened ({error.strerror}).", "Check the file.") from error

    if read.array.ndim != 3:
        refuse(f"{file.name} is not one grey-scale volume")

    array = np.ascontiguousarray(_to_int16_or_float32(read.array.T))
    if min(array.shape) < 2:
        refuse(f"it has the shape {array.shape}")

    try:
        return Volume(array, reverse_index_order(read.affine), "PATIENT")
    except ValueError:
        raise make_refusal("its axes are not at right angles") from None


def _compute_affine(images: list[Dataset]) -> NDArray[np.float64]:
    """PS3.3 C.7.6.2.1.1, with the slice step as the first column: indices are (slice, row, column)."""
    cosines = np.asarray(images[0].ImageOrientationPatient, float)
    between_rows, between_columns = (float(s) for s in images[0].PixelSpacing)
    first = read_position(images[0])
    affine = np.eye(4)
    affine[:3, 0] = (read_position(images[-1]) - first) / (len(images) - 1)
    affine[:3, 1] = cosines[3:] * between_rows
    affine[:3, 2] = cosines[:3] * between_columns
    affine[:3, 3] = first

    return affine


def decode_modality_values(image: Dataset) -> NDArray[Any]:
    """Modality values of one image (PS3.3 C.11.1): int16 where nothing is lost, else float32."""
    with translate_parser_errors(f"The pixels of {image.SOPInstanceUID} cannot be decoded", "Send the series again."):
        stored = decode_all_pixels(image)  # `image.pixel_array` would keep a second copy of every plane

        pipeline = read_pipeline(image, 0)
        if pipeline.modality_lut is not None:
            return _to_int16_or_float32(pipeline.to_modality(stored).astype(np.int32))

        if (
            pipeline.slope.is_integer() and pipeline.intercept.is_integer()
        ):  # the same without fractions: in half the time
            return _to_int16_or_float32(stored.astype(np.int32) * int(pipeline.slope) + int(pipeline.intercept))

        return pipeline.to_modality(stored).astype(np.float32)


def _to_int16_or_float32(values: NDArray[Any]) -> NDArray[Any]:
    whole = np.issubdtype(values.dtype, np.integer)
    if whole and values.min(initial=0) >= -32768 and values.max(initial=0) <= 32767:
        return values.astype(np.int16)

    return values.astype(np.float32)
