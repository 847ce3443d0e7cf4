"""A study for trials: a synthetic chest CT, computed, the same every time.

An elliptical torso with skin, fat, muscle, spine, ribs, two unequal lungs with vessels and a
trachea, in Hounsfield units with noise; a grid that is not square and anisotropic spacing.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import generate_uid

from minipacs.formats.dicom_image import ImageUids, new_image, place_image, set_pixels
from minipacs.formats.sop_classes import CT_IMAGE

SLICES, ROWS, COLUMNS = 72, 288, 352
SPACING_MM = (4.0, 1.2, 1.2)
"""Between slices, rows, columns."""
Mask = NDArray[np.bool_]
Radius = float | NDArray[np.float64]


def write_chest_ct(folder: Path, *, patient_id: str = "DEMO-1", slices: int = SLICES) -> list[Path]:
    """Write the study as DICOM files; UIDs follow from `patient_id`, so that a second call writes the same study."""
    folder.mkdir(parents=True, exist_ok=True)
    volume = chest_hounsfield(slices)
    paths = []
    for index in range(slices):
        path = folder / f"CT{index:04d}.dcm"
        _build_slice(volume[index], index, slices, patient_id).save_as(path, enforce_file_format=True)
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
    outline = _ellipse_mask(x, y, 0, 0, 178, 122)
    hounsfield[np.broadcast_to(outline, hounsfield.shape)] = -105  # subcutaneous fat
    hounsfield[np.broadcast_to(_ellipse_mask(x, y, 0, 0, 160, 104), hounsfield.shape)] = 45  # muscle
    taper = np.sqrt(np.clip(1.1 - z**2, 0.02, 1))
    right = _ellipse_mask(x, y, -72, -4, 58 * taper, 78 * taper) & (z > -0.85)
    left = _ellipse_mask(x, y, 74, 0, 50 * taper, 74 * taper) & (z > -0.75)
    heart = _ellipse_mask(x, y, 22, -30, 48, 44) & (z < 0.1) & (z > -0.8)
    lungs = (right | left) & ~heart
    hounsfield[lungs] = -850
    vessels = noise.random(hounsfield.shape, np.float32) > 0.985
    hounsfield[lungs & vessels] = -150
    hounsfield[np.broadcast_to(heart, hounsfield.shape)] = 40
    trachea = _ellipse_mask(x, y, 0, 10, 9, 9) & (z > 0.05)
    hounsfield[np.broadcast_to(_ellipse_mask(x, y, 0, 10, 12, 12) & (z > 0.05), hounsfield.shape)] = 40
    hounsfield[trachea] = -995
    hounsfield[np.broadcast_to(_ellipse_mask(x, y, 0, 72, 22, 20), hounsfield.shape)] = 220  # vertebral bodies
    hounsfield[
        np.broadcast_to(_ellipse_mask(x, y, 0, 72, 22, 20) & ~_ellipse_mask(x, y, 0, 72, 19, 17), hounsfield.shape)
    ] = 600
    ribs = (
        _ellipse_mask(x, y, 0, 0, 150, 96)
        & ~_ellipse_mask(x, y, 0, 0, 141, 87)
        & (np.sin(z * 40 + np.abs(x) / 30) > 0.4)
    )
    hounsfield[ribs] = 500
    hounsfield += noise.normal(0, 12, hounsfield.shape).astype(np.float32)
    return np.clip(np.rint(hounsfield), -1024, 3071).astype(np.int16)


def _ellipse_mask(x: NDArray[np.float64], y: NDArray[np.float64], cx: float, cy: float, rx: Radius, ry: Radius) -> Mask:
    """Inside an ellipse with its centre and radii in mm."""
    inside: Mask = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
    return inside


def _build_slice(hounsfield: NDArray[np.int16], index: int, slices: int, patient_id: str) -> Dataset:
    def uid(*parts: object) -> str:
        return generate_uid(entropy_srcs=["minipacs demo", patient_id, str(slices), *map(str, parts)])

    image = new_image(
        ImageUids(sop_class=CT_IMAGE, instance=uid("instance", index), series=uid("series"), study=uid("study")),
        SpecificCharacterSet="ISO_IR 192",
        PatientName="Demo^Synthetic",
        PatientID=patient_id,
        PatientBirthDate="19700101",
        PatientSex="O",
        StudyDate="20260101",
        StudyTime="120000",
        StudyID="1",
        AccessionNumber=patient_id[:16],
        StudyDescription="Synthetic chest",
        Modality="CT",
        Manufacturer="synthetic",
        SeriesNumber=1,
        SeriesDate="20260101",
        SeriesTime="120000",
        SeriesDescription="Chest CT, synthetic",
        BodyPartExamined="CHEST",
        PatientPosition="HFS",
        InstanceNumber=index + 1,
        AcquisitionNumber=1,
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        KVP=120,
        RescaleIntercept=0,
        RescaleSlope=1,
        RescaleType="HU",
        WindowCenter=40,
        WindowWidth=400,
    )
    corner = (-COLUMNS / 2 * SPACING_MM[2], -ROWS / 2 * SPACING_MM[1], index * SPACING_MM[0])
    place_image(
        image,
        frame_of_reference=uid("frame"),
        position=[round(mm, 6) for mm in corner],  # VR DS: 16 characters at most
        orientation=[1, 0, 0, 0, 1, 0],
        pixel_spacing=SPACING_MM[1:],
        slice_thickness=SPACING_MM[0],
    )
    set_pixels(image, hounsfield)
    return image
