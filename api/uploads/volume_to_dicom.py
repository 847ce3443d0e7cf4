"""A NIfTI or NRRD volume as a derived DICOM series of the same geometry.

What the file does not know is not invented: the patient is named after the file, the images are `DERIVED`, the
modality is the one of the upload or guessed (the verdict says which), and all UIDs follow from the file's content,
so that the same file is the same series.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

from api.uploads.received import RefusedFile, StorableFile
from minipacs import __version__
from minipacs.errors import ExceedsMemory, Unreadable
from minipacs.formats.dicom_image import ImageUids, decimal_string, encode_file, new_image, place_image, set_pixels
from minipacs.formats.hounsfield import is_hounsfield
from minipacs.formats.sop_classes import CT_IMAGE, MR_IMAGE
from minipacs.formats.volume_file import read_volume

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.uid import UID

MAX_SLICES = 4000
MAX_SHEAR = 1e-3
"""The cosine between two axes that still counts as a right angle."""
MAX_LABEL_CHARACTERS = 60
MAX_DESCRIPTION_CHARACTERS = 64
"""Of an LO (PS3.5 6.2)."""
WINDOW_PERCENTILES = (1, 99)
LEVELS = 65000
"""Of the 65,536 values of 16 bits: rounding never leaves them."""
MR_ACQUISITION: dict[str, Any] = {
    "ScanningSequence": "RM",
    "SequenceVariant": "NONE",
    "ScanOptions": "",
    "MRAcquisitionType": "3D",
    "RepetitionTime": "",
    "EchoTime": "",
    "EchoTrainLength": "",
}
"""Of the MR Image Module (PS3.3 C.8.3.1): what a file of voxels does not know; RM is research mode."""


@dataclass(frozen=True)
class StoredVoxels:
    """Voxels as DICOM stores them: value = stored × slope + intercept."""

    array: "NDArray[np.int16]"
    slope: float
    intercept: float


def convert_volume(name: str, file: bytes, requested_modality: str = "") -> StorableFile | RefusedFile:
    """The DICOM files of the volume, or why there are none. `requested_modality`: CT or MR; empty to guess."""
    try:
        volume = read_volume(BytesIO(file))
    except ExceedsMemory as error:
        return RefusedFile(str(error))
    except Unreadable as error:
        return RefusedFile(f"The volume cannot be read: {error.message}")

    array, affine = volume.array, volume.affine
    if array.ndim != 3 or min(array.shape) < 1 or array.shape[2] > MAX_SLICES:
        rule = f"A volume has three axes and at most {MAX_SLICES} slices"
        return RefusedFile(f"{rule}; this one has the shape {array.shape}.")
    if _is_sheared(affine):
        return RefusedFile("The volume's axes are not at right angles: DICOM images cannot hold a shear.")

    modality = requested_modality or ("CT" if is_hounsfield(float(array.min())) else "MR")
    seed = sha256(file + requested_modality.encode()).digest()
    instances = tuple(encode_slices(name, seed, array, affine, modality))

    why = "as asked" if requested_modality else "guessed from its values"
    remark = f"Made a {modality} series of {array.shape[2]} slices ({modality} {why})."
    return StorableFile("volume", derive_uid(seed, "study"), instances, remark)


def encode_slices(
    name: str, seed: bytes, array: "NDArray[Any]", affine: "NDArray[np.float64]", modality: str
) -> Iterator[bytes]:
    """One classic image a slice, as a file.

    Index 0 of the volume runs along a row, 1 along a column, 2 over slices; `affine` leads to LPS, mm.
    """
    import numpy as np

    array, affine = _order_along_normal(array, affine)
    stored = quantize(array)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = affine[:3, :3] / spacing

    elements = _series_elements(name, seed, modality, stored)
    if modality == "MR":
        elements |= MR_ACQUISITION | {"SpacingBetweenSlices": decimal_string(spacing[2])}

    for k in range(array.shape[2]):
        uids = ImageUids(
            sop_class=CT_IMAGE if modality == "CT" else MR_IMAGE,
            instance=derive_uid(seed, "instance", k),
            series=derive_uid(seed, "series"),
            study=derive_uid(seed, "study"),
        )
        image = new_image(uids, InstanceNumber=k + 1, **elements)
        place_image(
            image,
            frame_of_reference=derive_uid(seed, "frame of reference"),
            position=[decimal_string(v) for v in affine[:3, 3] + affine[:3, 2] * k],
            orientation=[decimal_string(v) for v in (*cosines[:, 0], *cosines[:, 1])],
            pixel_spacing=[decimal_string(spacing[1]), decimal_string(spacing[0])],
            slice_thickness=decimal_string(spacing[2]),
        )
        set_pixels(image, stored.array[:, :, k].T)
        yield encode_file(image)


def derive_uid(seed: bytes, *parts: object) -> "UID":
    """A UID that follows from the file's content (PS3.5 B.2)."""
    from pydicom.uid import UID

    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, seed.hex() + '/' + '/'.join(map(str, parts))).int}")


def quantize(array: "NDArray[Any]") -> StoredVoxels:
    """Voxels as int16: exact for whole numbers in its range, else in equal steps over the range of the values."""
    import numpy as np

    low, high = float(array.min()), float(array.max())
    planes = np.moveaxis(array, -1, 0)  # one after the other: a volume of float64 would be several at once
    is_whole = np.issubdtype(array.dtype, np.integer) or all((plane == np.rint(plane)).all() for plane in planes)
    if is_whole and low >= -32768 and high <= 32767:
        return StoredVoxels(array.astype(np.int16, copy=False), 1.0, 0.0)

    slope = max((high - low) / LEVELS, 1e-9)
    middle = (high + low) / 2
    stored = np.empty(planes.shape, np.int16)
    for plane, in_steps in zip(planes, stored, strict=True):
        in_steps[:] = np.rint((plane - middle) / slope)
    return StoredVoxels(np.moveaxis(stored, 0, -1), slope, middle)


def _is_sheared(affine: "NDArray[np.float64]") -> bool:
    import numpy as np

    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(cosines.T @ cosines - np.eye(3)).max() > MAX_SHEAR)


def _order_along_normal(
    array: "NDArray[Any]", affine: "NDArray[np.float64]"
) -> "tuple[NDArray[Any], NDArray[np.float64]]":
    """The volume with its slices along the normal of its rows and columns: turned round where they run against it."""
    import numpy as np

    row, column, slices = affine[:3, 0], affine[:3, 1], affine[:3, 2]
    if np.dot(np.cross(row, column), slices) >= 0:
        return array, affine

    affine = affine.copy()
    affine[:3, 3] += affine[:3, 2] * (array.shape[2] - 1)
    affine[:3, 2] *= -1
    return array[:, :, ::-1], affine


def _series_elements(name: str, seed: bytes, modality: str, stored: StoredVoxels) -> dict[str, Any]:
    """What all images of the series have in common, by keyword."""
    label = name.rpartition("/")[2].split(".")[0][:MAX_LABEL_CHARACTERS] or "volume"
    low, high = _window_limits(stored)
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientID": f"upload-{seed.hex()[:12]}",
        "PatientName": label.replace("_", " ") + "^",
        "StudyDescription": f"Uploaded {label}"[:MAX_DESCRIPTION_CHARACTERS],
        "Modality": modality,
        "SeriesNumber": 1,
        "SeriesDescription": f"Uploaded {label}"[:MAX_DESCRIPTION_CHARACTERS],
        "Manufacturer": "uploaded volume",
        "ManufacturerModelName": "minipacs upload",
        "SoftwareVersions": __version__,
        "PatientPosition": "",
        "AcquisitionNumber": "",
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL" if modality == "CT" else "OTHER"],
        "DerivationDescription": "Converted from a volume file",
        "KVP": "",
        "RescaleSlope": decimal_string(stored.slope),
        "RescaleIntercept": decimal_string(stored.intercept),
        "RescaleType": "HU" if modality == "CT" else "US",
        "WindowCenter": decimal_string((low + high) / 2),
        "WindowWidth": decimal_string(max(high - low, 1)),
    }


def _window_limits(stored: StoredVoxels) -> tuple[float, float]:
    """The values between which nearly all voxels lie, from a sample of them."""
    import numpy as np

    every_slice = max(stored.array.shape[2] // 32, 1)
    sample = stored.array[::4, ::4, ::every_slice]
    low, high = (float(v) * stored.slope + stored.intercept for v in np.percentile(sample, WINDOW_PERCENTILES))
    return low, high
