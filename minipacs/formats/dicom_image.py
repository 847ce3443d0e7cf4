"""A classic image object, one frame a file (PS3.3 A.3, A.4, A.8), in three steps: new image, position, pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

__all__ = ["Decimals", "ImageUids", "decimal_string", "encode_file", "new_image", "place_image", "set_pixels"]

EMPTY_IF_UNKNOWN = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Type 2 of the Patient and the General Study Module (PS3.3 C.7.1.1, C.7.2.1): there, even when empty."""
Decimals = Sequence[str | float]
"""Values of VR DS: numbers, or text of at most 16 characters."""


@dataclass(frozen=True, kw_only=True)
class ImageUids:
    """The UIDs of an image, of its series and its study."""

    sop_class: str
    instance: str
    series: str
    study: str


def new_image(uids: ImageUids, **elements: Any) -> Dataset:
    """An image without place and pixels, ready for a file of Explicit VR Little Endian.

    `elements`: by keyword; those every image must have are empty where they are not given.
    """
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = UID(uids.sop_class)
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = UID(uids.instance)
    image.SeriesInstanceUID, image.StudyInstanceUID = UID(uids.series), UID(uids.study)
    for keyword, value in {**dict.fromkeys(EMPTY_IF_UNKNOWN, ""), **elements}.items():
        setattr(image, keyword, value)
    return image


def place_image(
    image: Dataset,
    *,
    frame_of_reference: str,
    position: Decimals,
    orientation: Decimals,
    pixel_spacing: Decimals,
    slice_thickness: str | float,
) -> None:
    """Set where an image lies in the patient, LPS mm (PS3.3 C.7.4.1, C.7.6.2).

    `position`: of the first voxel; `orientation`: the cosines along a row, then along a column;
    `pixel_spacing`: between rows, then between columns (PS3.3 10.7.1.3).
    """
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = UID(frame_of_reference), ""
    image.ImagePositionPatient, image.ImageOrientationPatient = list(position), list(orientation)
    image.PixelSpacing, image.SliceThickness = list(pixel_spacing), slice_thickness


def set_pixels(image: Dataset, pixels: np.ndarray[Any, Any]) -> None:
    """Set the pixels (PS3.3 C.7.6.3): (rows, columns) of whole numbers as grey, (rows, columns, 3) uint8 as RGB."""
    bits = 8 * pixels.dtype.itemsize
    image.Rows, image.Columns = pixels.shape[:2]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    if pixels.ndim == 3:
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = bits, bits, bits - 1
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    content = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()
    image.PixelData = content + b"\0" * (len(content) % 2)  # PS3.5 8.1.1: an even number of bytes


def encode_file(image: Dataset) -> bytes:
    """The image as a file (PS3.10)."""
    stream = BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def decimal_string(value: float) -> str:
    """A DS value: as many digits as 16 characters hold (PS3.5 6.2)."""
    for digits in range(15, 5, -1):
        text = f"{float(value):.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{float(value):.6g}"
