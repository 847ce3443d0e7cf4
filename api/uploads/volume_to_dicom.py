"""A NIfTI or NRRD volume as a derived DICOM series: geometry kept, modality asked or guessed, and said.

Enhanced information is not invented: the patient is named after the file, the type of the study is
`DERIVED`, and all UIDs follow from the file's content, so that the same file is the same series.
"""

import uuid
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

from api.uploads.received import Received
from minipacs import __version__
from minipacs.errors import Unreadable
from minipacs.formats.dicom_image import ImageUids, decimal_string, encode_file, new_image, place_image, set_pixels
from minipacs.formats.hounsfield import is_hounsfield
from minipacs.formats.sop_classes import CT_IMAGE, MR_IMAGE
from minipacs.formats.volume_file import read_volume

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.uid import UID

MAX_SLICES = 4000
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


def series_of(name: str, file: bytes, asked: str = "") -> Received | str:
    """The DICOM files of the volume, or why there are none. `asked`: CT or MR; else it is guessed."""
    import numpy as np

    try:
        volume = read_volume(BytesIO(file))
    except Unreadable as error:
        return f"The volume cannot be read: {error.message}"
    array, affine = volume.array, volume.affine
    if array.ndim != 3 or min(array.shape) < 1 or array.shape[2] > MAX_SLICES:
        return f"A volume has three axes and at most {MAX_SLICES} slices; this one has the shape {array.shape}."
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > 1e-3:
        return "The volume's axes are not at right angles: DICOM images cannot hold a shear."
    modality = asked or ("CT" if is_hounsfield(float(array.min())) else "MR")
    seed = sha256(file + asked.encode()).digest()
    files = tuple(write(name, seed, array, affine, modality))
    study = uid(seed, "study")
    why = "as asked" if asked else "guessed from its values"
    remark = f"Made a {modality} series of {array.shape[2]} slices ({modality} {why})."
    return Received("volume", study, files, remark)


def uid(seed: bytes, *parts: object) -> "UID":
    """A UID that follows from the file's content (PS3.5 B.2)."""
    from pydicom.uid import UID

    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, seed.hex() + '/' + '/'.join(map(str, parts))).int}")


def stored_values(array: "NDArray[Any]") -> "tuple[NDArray[np.int16], float, float]":
    """Voxels as int16 with slope and intercept: exact for whole numbers in range, else 16 bits of the range."""
    import numpy as np

    low, high = float(array.min()), float(array.max())
    whole = np.issubdtype(array.dtype, np.integer) or bool((array == np.rint(array)).all())
    if whole and low >= -32768 and high <= 32767:
        return array.astype(np.int16), 1.0, 0.0
    slope = max((high - low) / 65000, 1e-9)
    middle = (high + low) / 2
    return np.rint((array - middle) / slope).astype(np.int16), slope, middle


def write(
    name: str, seed: bytes, array: "NDArray[Any]", affine: "NDArray[np.float64]", modality: str
) -> Iterator[bytes]:
    """One classic image a slice; index 0 of the volume runs along a row, 1 along a column, 2 over slices."""
    import numpy as np

    values, slope, intercept = stored_values(array)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = affine[:3, :3] / spacing
    label = name.rpartition("/")[2].split(".")[0][:60] or "volume"
    if np.dot(np.cross(cosines[:, 0], cosines[:, 1]), cosines[:, 2]) < 0:  # slices must run along the normal
        values = values[:, :, ::-1]
        affine = affine.copy()
        affine[:3, 3] += affine[:3, 2] * (array.shape[2] - 1)
        affine[:3, 2] *= -1
    low, high = (
        float(v) * slope + intercept for v in np.percentile(values[::4, ::4, :: max(values.shape[2] // 32, 1)], (1, 99))
    )
    elements = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientID": f"upload-{seed.hex()[:12]}",
        "PatientName": label.replace("_", " ") + "^",
        "StudyDescription": f"Uploaded {label}"[:64],
        "Modality": modality,
        "SeriesNumber": 1,
        "SeriesDescription": f"Uploaded {label}"[:64],
        "Manufacturer": "uploaded volume",
        "ManufacturerModelName": "minipacs upload",
        "SoftwareVersions": __version__,
        "PatientPosition": "",
        "AcquisitionNumber": "",
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL" if modality == "CT" else "OTHER"],
        "DerivationDescription": "Converted from a volume file",
        "KVP": "",
        "RescaleSlope": decimal_string(slope),
        "RescaleIntercept": decimal_string(intercept),
        "RescaleType": "HU" if modality == "CT" else "US",
        "WindowCenter": decimal_string((low + high) / 2),
        "WindowWidth": decimal_string(max(high - low, 1)),
        **(MR_ACQUISITION | {"SpacingBetweenSlices": decimal_string(spacing[2])} if modality == "MR" else {}),
    }
    for k in range(values.shape[2]):
        uids = ImageUids(
            sop_class=CT_IMAGE if modality == "CT" else MR_IMAGE,
            instance=uid(seed, "instance", k),
            series=uid(seed, "series"),
            study=uid(seed, "study"),
        )
        image = new_image(uids, InstanceNumber=k + 1, **elements)
        place_image(
            image,
            frame_of_reference=uid(seed, "frame of reference"),
            position=[decimal_string(v) for v in affine[:3, 3] + affine[:3, 2] * k],
            orientation=[decimal_string(v) for v in (*cosines[:, 0], *cosines[:, 1])],
            pixel_spacing=[decimal_string(spacing[1]), decimal_string(spacing[0])],
            slice_thickness=decimal_string(spacing[2]),
        )
        set_pixels(image, values[:, :, k].T)
        yield encode_file(image)
