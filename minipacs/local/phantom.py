"""A study for trying out: a synthetic chest CT, made by code, the same every time.

An elliptical torso with skin, fat, muscle, spine, ribs, two unequal lungs with vessels and a
trachea, in Hounsfield units with noise; non-square pixels grid and anisotropic spacing.
"""

from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

SLICES, ROWS, COLUMNS = 72, 288, 352
SPACING_MM = (4.0, 1.2, 1.2)
"""Between slices, rows, columns."""
Mask = NDArray[np.bool_]
Radius = float | NDArray[np.float64]


def write_chest_ct(folder: Path, *, patient_id: str = "DEMO-1", slices: int = SLICES) -> list[Path]:
    """Write the study as DICOM files; UIDs follow from `patient_id`, so that the same study is made twice."""
    folder.mkdir(parents=True, exist_ok=True)
    volume = chest_hounsfield(slices)
    paths = []
    for index in range(slices):
        path = folder / f"CT{index:04d}.dcm"
        _slice(volume[index], index, slices, patient_id).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def chest_hounsfield(slices: int = SLICES) -> NDArray[np.int16]:
    """HU of shape (slices, rows, columns), int16; slice 0 is the most inferior, column 0 the patient's right."""
    z, y, x = np.meshgrid(
        np.linspace(-1, 1, slices),
        (np.arange(ROWS) - ROWS / 2) * SPACING_MM[1],
        (np.arange(COLUMNS) - COLUMNS / 2) * SPACING_MM[2],
        indexing="ij",
        sparse=True,
    )
    noise = np.random.default_rng(20260101)
    hounsfield = np.full((slices, ROWS, COLUMNS), -1000.0, np.float32)
    outline = _ellipse(x, y, 0, 0, 178, 122)
    hounsfield[np.broadcast_to(outline, hounsfield.shape)] = -105  # subcutaneous fat
    hounsfield[np.broadcast_to(_ellipse(x, y, 0, 0, 160, 104), hounsfield.shape)] = 45  # muscle
    taper = np.sqrt(np.clip(1.1 - z**2, 0.02, 1))
    right = _ellipse(x, y, -72, -4, 58 * taper, 78 * taper) & (z > -0.85)
    left = _ellipse(x, y, 74, 0, 50 * taper, 74 * taper) & (z > -0.75)
    heart = _ellipse(x, y, 22, -30, 48, 44) & (z < 0.1) & (z > -0.8)
    lungs = (right | left) & ~heart
    hounsfield[lungs] = -850
    vessels = noise.random(hounsfield.shape, np.float32) > 0.985
    hounsfield[lungs & vessels] = -150
    hounsfield[np.broadcast_to(heart, hounsfield.shape)] = 40
    trachea = _ellipse(x, y, 0, 10, 9, 9) & (z > 0.05)
    hounsfield[np.broadcast_to(_ellipse(x, y, 0, 10, 12, 12) & (z > 0.05), hounsfield.shape)] = 40
    hounsfield[trachea] = -995
    hounsfield[np.broadcast_to(_ellipse(x, y, 0, 72, 22, 20), hounsfield.shape)] = 220  # vertebral bodies
    hounsfield[np.broadcast_to(_ellipse(x, y, 0, 72, 22, 20) & ~_ellipse(x, y, 0, 72, 19, 17), hounsfield.shape)] = 600
    ribs = _ellipse(x, y, 0, 0, 150, 96) & ~_ellipse(x, y, 0, 0, 141, 87) & (np.sin(z * 40 + np.abs(x) / 30) > 0.4)
    hounsfield[ribs] = 500
    hounsfield += noise.normal(0, 12, hounsfield.shape).astype(np.float32)
    return np.clip(np.rint(hounsfield), -1024, 3071).astype(np.int16)


def _ellipse(x: NDArray[np.float64], y: NDArray[np.float64], cx: float, cy: float, rx: Radius, ry: Radius) -> Mask:
    """Inside an ellipse with its centre and radii in mm."""
    inside: Mask = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
    return inside


def _slice(hounsfield: NDArray[np.int16], index: int, slices: int, patient_id: str) -> pydicom.Dataset:
    def uid(*parts: object) -> UID:
        return generate_uid(entropy_srcs=["minipacs demo", patient_id, str(slices), *map(str, parts)])

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid("instance", index)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = pydicom.Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = uid("study"), uid("series"), uid("frame")
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Demo^Synthetic", patient_id, "19700101", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260101", "120000", "1", patient_id[:16]
    ds.StudyDescription, ds.SeriesDescription = "Synthetic chest", "Chest CT, synthetic"
    ds.Modality, ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber = "CT", "synthetic", 1, index + 1
    ds.SeriesDate, ds.SeriesTime, ds.ReferringPhysicianName = "20260101", "120000", ""
    ds.ImageType, ds.BodyPartExamined, ds.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "CHEST", "HFS"
    ds.KVP, ds.AcquisitionNumber, ds.PositionReferenceIndicator = 120, 1, ""
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    corner = (-COLUMNS / 2 * SPACING_MM[2], -ROWS / 2 * SPACING_MM[1], index * SPACING_MM[0])
    ds.ImagePositionPatient = [round(mm, 6) for mm in corner]  # VR DS: 16 characters at most
    ds.PixelSpacing, ds.SliceThickness = [SPACING_MM[1], SPACING_MM[2]], SPACING_MM[0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", ROWS, COLUMNS
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "HU"
    ds.WindowCenter, ds.WindowWidth = 40, 400
    ds.PixelData = hounsfield.tobytes()
    return ds
