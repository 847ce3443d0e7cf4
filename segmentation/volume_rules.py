"""The rules that make a series a volume; each that is broken is a sentence with its numbers.

`highdicom.spatial.get_volume_positions` decides whether the planes are regular; what is written here only
finds the words.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from minipacs.errors import NotAVolume

TILT_DEGREES = 0.1
"""A step between planes further off their normal than this is a shear worth naming."""
GAP_FACTOR = 1.5
"""A step so many times the usual one is a gap."""
SAME_PLACE_MM, SAME_PLACE_SHARE = 0.01, 0.01
"""Planes nearer to each other than this, or than such a share of the usual step, lie in one place."""
DIRECTION_TOLERANCE = 1e-3
"""Of the components of direction cosines."""
SPACING_TOLERANCE = 1e-4
"""Of the spacing itself."""


def make_refusal(reason: str) -> NotAVolume:
    """The error that says why the series is no volume."""
    return NotAVolume(f"The series cannot be segmented: {reason}.")


def refuse(reason: str) -> NoReturn:
    """Raise `NotAVolume`."""
    raise make_refusal(reason)


def keep_images_of_modality(images: Sequence[Dataset], modalities: Iterable[str]) -> list[Dataset]:
    """The objects that are images, of one of these modalities; empty: any."""
    images = [image for image in images if "Rows" in image and "Columns" in image]
    if not images:
        refuse("it holds no images")

    if not all(image.get(k) for image in images for k in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")):
        refuse("its images have no UIDs, so that nothing could refer to them")

    found = str(images[0].get("Modality", ""))
    taken = sorted(modalities)
    if taken and found not in taken:
        refuse(f"it is {found or 'of no modality'}; the engine takes {' and '.join(taken)}")

    return images


def check_single_grey_frames(images: list[Dataset]) -> None:
    """Every image is one grey-scale frame."""
    if any(int(i.get("NumberOfFrames") or 1) > 1 or "SharedFunctionalGroupsSequence" in i for i in images):
        refuse("its images are multi-frame objects, which are not supported")

    if any(int(i.get("SamplesPerPixel") or 1) != 1 for i in images):
        refuse("its images are in colour")


def is_localiser(image: Dataset) -> bool:
    """Whether it is a scout image."""
    return "LOCALIZER" in image.get("ImageType", [])  # PS3.3 C.8.2.1.1.1, value 3


def check_grid(images: list[Dataset]) -> None:
    """One study, frame of reference, plane orientation, matrix and pixel spacing."""
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if not all(i.get(keyword) for i in images):
            refuse(f"images lack {keyword}: their place in the patient is unknown")

    if len({(i.Rows, i.Columns) for i in images}) > 1:
        sizes = Counter(f"{i.Columns}×{i.Rows}" for i in images)
        refuse("its images differ in size: " + " and ".join(sorted(sizes)))

    if len({str(i.FrameOfReferenceUID) for i in images}) > 1:
        refuse("its images lie in different frames of reference")

    first = np.asarray(images[0].ImageOrientationPatient, float)
    if any(np.abs(np.asarray(i.ImageOrientationPatient, float) - first).max() > DIRECTION_TOLERANCE for i in images):
        refuse("its images are in different orientations")

    rows, columns = first[:3], first[3:]
    lengths = np.linalg.norm(rows), np.linalg.norm(columns)
    if np.abs(np.asarray(lengths) - 1).max() > DIRECTION_TOLERANCE or abs(float(rows @ columns)) > DIRECTION_TOLERANCE:
        refuse("its direction cosines are not two perpendicular unit vectors")

    spacing = np.asarray([[float(s) for s in i.PixelSpacing] for i in images])
    if spacing.min() <= 0 or np.abs(spacing - spacing[0]).max() > SPACING_TOLERANCE * spacing[0].max():
        refuse("its images differ in pixel spacing")


def check_hounsfield(images: list[Dataset]) -> None:
    """CT must be in Hounsfield units: a rescale, and no other unit named (PS3.3 C.11.1.1.2)."""
    if str(images[0].get("Modality")) != "CT":
        return

    if any("ModalityLUTSequence" not in i and ("RescaleSlope" not in i or "RescaleIntercept" not in i) for i in images):
        refuse("its pixel values cannot be turned into Hounsfield units: the rescale is missing")

    units = {str(i.get("RescaleType") or "HU") for i in images} - {"HU", "US"}
    if units:
        refuse(f"its pixel values are {' and '.join(sorted(units))}, not Hounsfield units")


def explain_irregularity(images: list[Dataset]) -> str:
    """What is wrong with planes that are not one regular stack."""
    positions = np.stack([read_position(i) for i in images])
    along = positions @ compute_normal(images[0])
    order = np.argsort(along, kind="stable")
    along, positions = along[order], positions[order]

    steps = np.diff(along)
    typical = float(np.median(steps))

    repeated = int((np.abs(steps) < max(SAME_PLACE_MM, SAME_PLACE_SHARE * typical)).sum())
    if repeated:
        return f"{repeated} of its {len(images)} images lie where another one lies"

    across = np.linalg.norm(np.diff(positions, axis=0) - steps[:, None] * compute_normal(images[0]), axis=1)
    tilt = float(np.degrees(np.arctan2(np.median(across), typical)))
    if tilt > TILT_DEGREES:
        return f"its gantry is tilted by {tilt:.1f}°, so that the stack is sheared"

    widest, gaps = float(steps.max()), steps[steps > GAP_FACTOR * typical]
    if len(gaps):
        missing = int(np.round(gaps / typical).sum() - len(gaps))
        return f"it has a gap: images {typical:.2f} mm apart, and {widest:.2f} mm; about {missing} missing"

    return f"its images are unevenly spaced, {float(steps.min()):.2f} to {widest:.2f} mm"


def read_position(image: Dataset) -> NDArray[np.float64]:
    """Image Position (Patient) (0020,0032): LPS mm of the first voxel."""
    return np.asarray(image.ImagePositionPatient, float)


def compute_normal(image: Dataset) -> NDArray[np.float64]:
    """Row cosine × column cosine."""
    cosines = np.asarray(image.ImageOrientationPatient, float)
    return np.cross(cosines[:3], cosines[3:])
