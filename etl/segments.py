"""Segment rows of SEG objects (PS3.3 C.8.20): label, codes, algorithm, and the volume in mL."""

from typing import Any

import numpy as np
from pydicom import Dataset

from etl.rendering.frames import frame_count, frames
from minipacs.errors import NoPicture
from minipacs.formats.grey_header import functional_group, read_numbers


def segments(dataset: Dataset, remarks: list[str]) -> list[dict[str, Any]]:
    """One row for each item of the Segment Sequence."""
    items = [item for item in dataset.get("SegmentSequence") or [] if item.get("SegmentNumber") is not None]
    if not items:
        return []
    volumes: dict[int, float] | None = None
    try:
        volumes = volumes_ml(dataset)
    except NoPicture as error:
        remarks.append(f"Volumes were not measured: {error.message}")
    return [
        {
            "sop_instance_uid": str(dataset.SOPInstanceUID),
            "segment_number": int(item.SegmentNumber),
            "segment_label": _text(item.get("SegmentLabel")),
            **_code(item, "SegmentedPropertyCategoryCodeSequence", "category"),
            **_code(item, "SegmentedPropertyTypeCodeSequence", "type"),
            "laterality": _laterality(item),
            "segment_algorithm_type": _text(item.get("SegmentAlgorithmType")),
            "segment_algorithm_name": _text(item.get("SegmentAlgorithmName")),
            "volume_ml": None if volumes is None else volumes.get(int(item.SegmentNumber), 0.0),
        }
        for item in {int(item.SegmentNumber): item for item in items}.values()
    ]


def volumes_ml(dataset: Dataset) -> dict[int, float]:
    """Volume of each segment in mL: voxels × voxel volume; FRACTIONAL counts fractions (C.8.20.2.3)."""
    kind = str(dataset.get("SegmentationType") or "")
    whole = float(dataset.get("MaximumFractionalValue") or 255) if kind == "FRACTIONAL" else 1.0
    found: dict[int, float] = {}
    for n, frame in enumerate(_labels(dataset)):
        voxel = _voxel_ml(dataset, n)
        if kind == "LABELMAP" or dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7":
            for number, count in zip(*np.unique(frame, return_counts=True), strict=True):
                found[int(number)] = found.get(int(number), 0.0) + int(count) * voxel
        else:
            item = functional_group(dataset, n, "SegmentIdentificationSequence")
            number = int(item.get("ReferencedSegmentNumber") or 0)
            found[number] = found.get(number, 0.0) + float(frame.sum(dtype=np.float64)) / whole * voxel
    return found


def _labels(dataset: Dataset) -> Any:
    """Frames as stored: a palette is for showing, not for measuring."""
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        plain = Dataset(dataset)
        plain.file_meta = dataset.file_meta
        plain.PhotometricInterpretation = "MONOCHROME2"
        return frames(plain)
    return frames(dataset)


def _voxel_ml(dataset: Dataset, n: int) -> float:
    """mm³ / 1000 of a voxel; depth is Spacing Between Slices, or Slice Thickness."""
    measures = functional_group(dataset, n, "PixelMeasuresSequence")
    area = read_numbers(measures, "PixelSpacing") or [0.0, 0.0]
    depth = (
        read_numbers(measures, "SpacingBetweenSlices")
        or _step(dataset)
        or read_numbers(measures, "SliceThickness")
        or [0.0]
    )
    return area[0] * area[-1] * abs(depth[0]) / 1000.0


def _step(dataset: Dataset) -> list[float]:
    """Smallest distance of two frames' planes along their normal, mm; nothing when there is only one plane."""
    orientation = read_numbers(functional_group(dataset, 0, "PlaneOrientationSequence"), "ImageOrientationPatient")
    if len(orientation) != 6:
        return []
    normal = np.cross(orientation[:3], orientation[3:])
    places = {
        round(float(np.dot(normal, at)), 3)
        for n in range(frame_count(dataset))
        if len(at := read_numbers(functional_group(dataset, n, "PlanePositionSequence"), "ImagePositionPatient")) == 3
    }
    return [float(np.diff(sorted(places)).min())] if len(places) > 1 else []


def _code(item: Dataset, sequence: str, name: str) -> dict[str, str | None]:
    code = next(iter(item.get(sequence) or []), Dataset())
    value = code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue")
    scheme = code.get("CodingSchemeDesignator")
    return {
        f"{name}_code": f"{scheme}:{value}" if value else None,
        f"{name}_meaning": _text(code.get("CodeMeaning")),
    }


def _laterality(item: Dataset) -> str | None:
    kind = next(iter(item.get("SegmentedPropertyTypeCodeSequence") or []), Dataset())
    for holder in (kind, item):
        for code in holder.get("SegmentedPropertyTypeModifierCodeSequence") or []:
            return _text(code.get("CodeMeaning"))
    return None


def _text(value: Any) -> str | None:
    return str(value).replace("\0", "").strip() or None if value is not None else None
