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
from minipacs.formats.hounsfield import is_hounsfield
from minipacs.formats.volume_file import read_volume

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.uid import UID

MAX_SLICES = 4000
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"


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
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

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
    for k in range(values.shape[2]):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = UID(CT if modality == "CT" else MR)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid(seed, "instance", k)
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(seed, "study"), uid(seed, "series")
        ds.FrameOfReferenceUID = uid(seed, "frame of reference")
        ds.PatientID = f"upload-{seed.hex()[:12]}"
        ds.PatientName = label.replace("_", " ") + "^"
        ds.PatientBirthDate = ds.PatientSex = ds.StudyDate = ds.StudyTime = ""
        ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber = modality, 1, k + 1
        ds.StudyDescription = ds.SeriesDescription = f"Uploaded {label}"[:64]
        ds.Manufacturer, ds.ManufacturerModelName = "uploaded volume", "minipacs upload"
        ds.SoftwareVersions = __version__
        ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if modality == "CT" else "OTHER"]
        ds.DerivationDescription = "Converted from a volume file"
        ds.PatientPosition = ds.PositionReferenceIndicator = ds.KVP = ds.AcquisitionNumber = ""
        if modality == "MR":
            ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "RM", "NONE", ""
            ds.MRAcquisitionType, ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength = "3D", "", "", ""
        ds.ImageOrientationPatient = [number(v) for v in (*cosines[:, 0], *cosines[:, 1])]
        ds.ImagePositionPatient = [number(v) for v in affine[:3, 3] + affine[:3, 2] * k]
        ds.PixelSpacing = [number(spacing[1]), number(spacing[0])]  # PS3.3 10.7.1.3: between rows, between columns
        ds.SliceThickness = ds.SpacingBetweenSlices = number(spacing[2])
        if modality == "CT":
            del ds.SpacingBetweenSlices
        ds.Rows, ds.Columns = values.shape[1], values.shape[0]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = number(slope), number(intercept)
        ds.RescaleType = "HU" if modality == "CT" else "US"
        ds.WindowCenter, ds.WindowWidth = number((low + high) / 2), number(max(high - low, 1))
        ds.PixelData = np.ascontiguousarray(values[:, :, k].T).astype("<i2").tobytes()
        stream = BytesIO()
        ds.save_as(stream, enforce_file_format=True)
        yield stream.getvalue()


def number(value: float) -> str:
    """A DS value: 16 characters at most (PS3.5 6.2)."""
    for digits in range(15, 5, -1):
        text = f"{float(value):.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{float(value):.6g}"
