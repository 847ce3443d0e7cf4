"""The rows of a SEG object's segments (PS3.3 C.8.20): label, codes, algorithm, and the volume in mL."""

from typing import Any

import numpy as np
from pydicom import Dataset

from etl.describing.element_values import clean_text
from etl.records import SegmentRow
from etl.rendering.frames import decode_frames
from minipacs.errors import NoPicture
from minipacs.formats.decode_pixels import read_frame_count
from minipacs.formats.grey import Array
from minipacs.formats.grey_header import find_functional_group, read_numbers
from minipacs.formats.sop_classes import LABELMAP_SEGMENTATION

__all__ = ["describe_segments"]


def describe_segments(dataset: Dataset) -> tuple[list[SegmentRow], list[str]]:
    """One row for each item of the Segment Sequence, and remarks in sentences; both empty for other objects."""
    items = {
        int(item.SegmentNumber): item
        for item in dataset.get("SegmentSequence") or []
        if item.get("SegmentNumber") is not None
    }
    if not items:
        return [], []

    uid = str(dataset.SOPInstanceUID)
    try:
        volumes = _measure_volumes_ml(dataset)
    except NoPicture as error:
        remark = f"Volumes were not measured: {error.message}"
        return [_make_segment_row(uid, number, item, None) for number, item in items.items()], [remark]

    return [_make_segment_row(uid, number, item, volumes.get(number, 0.0)) for number, item in items.items()], []


def _make_segment_row(sop_instance_uid: str, number: int, item: Dataset, volume_ml: float | None) -> SegmentRow:
    """The row of an item of the Segment Sequence."""
    category_code, category_meaning = _read_code(item, "SegmentedPropertyCategoryCodeSequence")
    type_code, type_meaning = _read_code(item, "SegmentedPropertyTypeCodeSequence")
    return {
        "sop_instance_uid": sop_instance_uid,
        "segment_number": number,
        "segment_label": _read_text(item, "SegmentLabel"),
        "category_code": category_code,
        "category_meaning": category_meaning,
        "type_code": type_code,
        "type_meaning": type_meaning,
        "laterality": _read_laterality(item),
        "segment_algorithm_type": _read_text(item, "SegmentAlgorithmType"),
        "segment_algorithm_name": _read_text(item, "SegmentAlgorithmName"),
        "volume_ml": volume_ml,
    }


def _measure_volumes_ml(dataset: Dataset) -> dict[int, float]:
    """Volume in mL by segment number: voxels × voxel volume; a FRACTIONAL voxel counts as its fraction.

    Raises `NoPicture` when the pixels cannot be decoded.
    """
    kind = str(dataset.get("SegmentationType") or "")
    is_labelmap = kind == "LABELMAP" or dataset.SOPClassUID == LABELMAP_SEGMENTATION
    whole_voxel = float(dataset.get("MaximumFractionalValue") or 255) if kind == "FRACTIONAL" else 1.0  # C.8.20.2.3

    volumes: dict[int, float] = {}
    for index, frame in enumerate(_decode_label_frames(dataset)):
        voxel_ml = _measure_voxel_ml(dataset, index)
        for number, voxels in _count_voxels(dataset, index, frame, is_labelmap, whole_voxel):
            volumes[number] = volumes.get(number, 0.0) + voxels * voxel_ml
    return volumes


def _count_voxels(
    dataset: Dataset, index: int, frame: Array, is_labelmap: bool, whole_voxel: float
) -> list[tuple[int, float]]:
    """Segment numbers and how many voxels each has in a frame (from 0)."""
    if is_labelmap:
        numbers, counts = np.unique(frame, return_counts=True)
        return [(int(number), int(count)) for number, count in zip(numbers, counts, strict=True)]

    item = find_functional_group(dataset, index, "SegmentIdentificationSequence")
    number = int(item.get("ReferencedSegmentNumber") or 0)
    return [(number, float(frame.sum(dtype=np.float64)) / whole_voxel)]


def _decode_label_frames(dataset: Dataset) -> Any:
    """Frames of labels as stored: a palette is for showing them, not for measuring."""
    if dataset.get("PhotometricInterpretation") != "PALETTE COLOR":
        return decode_frames(dataset)

    without_palette = Dataset(dataset)
    without_palette.file_meta = dataset.file_meta
    without_palette.PhotometricInterpretation = "MONOCHROME2"
    return decode_frames(without_palette)


def _measure_voxel_ml(dataset: Dataset, index: int) -> float:
    """Volume of a voxel of a frame (from 0) in mL.

    Its depth is Spacing Between Slices, else the distance of the planes, else Slice Thickness.
    """
    measures = find_functional_group(dataset, index, "PixelMeasuresSequence")
    spacing_mm = read_numbers(measures, "PixelSpacing") or [0.0, 0.0]
    depth_mm = (
        read_numbers(measures, "SpacingBetweenSlices")
        or _measure_smallest_plane_distance_mm(dataset)
        or read_numbers(measures, "SliceThickness")
        or [0.0]
    )
    return spacing_mm[0] * spacing_mm[-1] * abs(depth_mm[0]) / 1000.0


def _measure_smallest_plane_distance_mm(dataset: Dataset) -> list[float]:
    """Smallest distance of two frames' planes along their normal; empty when there is only one plane."""
    orientation = read_numbers(find_functional_group(dataset, 0, "PlaneOrientationSequence"), "ImageOrientationPatient")
    if len(orientation) != 6:
        return []

    normal = np.cross(orientation[:3], orientation[3:])
    offsets = set()
    for index in range(read_frame_count(dataset)):
        position = read_numbers(find_functional_group(dataset, index, "PlanePositionSequence"), "ImagePositionPatient")
        if len(position) == 3:
            offsets.add(round(float(np.dot(normal, position)), 3))

    return [float(np.diff(sorted(offsets)).min())] if len(offsets) > 1 else []


def _read_code(item: Dataset, sequence: str) -> tuple[str | None, str | None]:
    """The first code of a sequence as `scheme:value`, and its meaning."""
    code = next(iter(item.get(sequence) or []), Dataset())
    value = code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue")
    scheme = code.get("CodingSchemeDesignator")
    return clean_text(f"{scheme}:{value}") if value else None, _read_text(code, "CodeMeaning")


def _read_laterality(item: Dataset) -> str | None:
    """The meaning of the first modifier of the segment's type."""
    segment_type = next(iter(item.get("SegmentedPropertyTypeCodeSequence") or []), Dataset())
    for holder in (segment_type, item):
        for code in holder.get("SegmentedPropertyTypeModifierCodeSequence") or []:
            return _read_text(code, "CodeMeaning")
    return None


def _read_text(item: Dataset, keyword: str) -> str | None:
    """A text element without padding; None when it is absent or empty."""
    value = item.get(keyword)
    if value is None:
        return None
    return clean_text(str(value)) or None
