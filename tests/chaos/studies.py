"""Small studies that the engine really segments: the demo's chest with fewer voxels, segmented within a second."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import CTImageStorage, generate_uid

from dicom_objects import as_file, image
from minipacs.local.phantom import SPACING_MM, chest_hounsfield

STEPS = (6, 4, 4)
"""Steps between the slices, rows and columns taken from the demo: 12 slices of 72 × 88, 24 × 4.8 × 4.8 mm."""
AXIAL = [1, 0, 0, 0, 1, 0]


@dataclass(frozen=True)
class SmallStudy:
    """The UIDs and files of a study that is to be sent."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]
    files: tuple[Path, ...]


@cache
def _hounsfield() -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(chest_hounsfield()[:: STEPS[0], :: STEPS[1], :: STEPS[2]])


def write_study(folder: Path, name: str) -> SmallStudy:
    """Write a chest CT of one series; its UIDs follow from `name`."""

    def uid(*parts: object) -> str:
        return str(generate_uid(entropy_srcs=["minipacs chaos", name, *map(str, parts)]))

    folder.mkdir(parents=True, exist_ok=True)
    step, row, column = (factor * mm for factor, mm in zip(STEPS, SPACING_MM, strict=True))
    files, instances = [], []
    for index, pixels in enumerate(_hounsfield()):
        slice_ = image(
            pixels,
            index + 1,
            SOPInstanceUID=uid("instance", index),
            SeriesInstanceUID=uid("series"),
            StudyInstanceUID=uid("study"),
            FrameOfReferenceUID=uid("frame"),
            PatientID=name,
            PatientName="Chaos^Synthetic",
            PatientBirthDate="",
            PatientSex="",
            StudyID="1",
            AccessionNumber="",
            ReferringPhysicianName="",
            SeriesNumber=1,
            PatientPosition="HFS",
            Manufacturer="synthetic",
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            ImageOrientationPatient=AXIAL,
            ImagePositionPatient=[-200, -170, index * step],
            PixelSpacing=[row, column],
            SliceThickness=step,
            RescaleIntercept=0,
            RescaleSlope=1,
            RescaleType="HU",
            WindowCenter=40,
            WindowWidth=400,
            SOPClassUID=CTImageStorage,
        )
        file = folder / f"{name}-{index:02d}.dcm"
        file.write_bytes(as_file(slice_))
        files.append(file)
        instances.append(slice_.SOPInstanceUID)
    return SmallStudy(uid("study"), uid("series"), tuple(instances), tuple(files))


def write_studies(folder: Path, seed: int, count: int) -> list[SmallStudy]:
    """Write `count` studies, each into a folder of its own; another seed gives other studies."""
    return [write_study(folder / f"{number:03d}", f"chaos-{seed}-{number:03d}") for number in range(count)]
