"""Read the grey pipeline from a header: modality LUT, windows, VOI LUTs, padding, presentation.

Enhanced multi-frame objects have it in functional groups: the frame's own before the shared one
(PS3.3 C.7.6.16), and before the top level.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue

from minipacs.formats.grey import FUNCTIONS, GreyPipeline, Lut, Window

__all__ = [
    "find_functional_group",
    "is_inverted",
    "read_first_window",
    "read_numbers",
    "read_pipeline",
    "read_windows_and_luts",
]


def read_pipeline(dataset: Dataset, frame: int) -> GreyPipeline:
    """The grey pipeline of a frame (from 0), but for the VOI."""
    transformation = find_functional_group(dataset, frame, "PixelValueTransformationSequence")
    lut = _read_luts(dataset.get("ModalityLUTSequence"))
    return GreyPipeline(
        slope=_first_number(transformation, "RescaleSlope", 1.0) or 1.0,
        intercept=_first_number(transformation, "RescaleIntercept", 0.0),
        modality_lut=lut[0] if lut else None,
        inverted=is_inverted(dataset),
        padding=_read_padding(dataset),
    )


def read_windows_and_luts(dataset: Dataset, frame: int) -> tuple[list[Window], list[Lut], list[str]]:
    """Windows and VOI LUTs of a frame (from 0), valid ones only, numbered from 1; and the faults of others."""
    item = find_functional_group(dataset, frame, "FrameVOILUTSequence")
    function = str(item.get("VOILUTFunction") or "LINEAR").upper()
    remarks = []
    if function not in FUNCTIONS:
        remarks.append(f"VOI LUT Function {function[:16]} is unknown (PS3.3 C.11.2.1.3): LINEAR was used.")
        function = "LINEAR"
    explanations = _read_texts(item, "WindowCenterWidthExplanation")
    pairs = zip(read_numbers(item, "WindowCenter"), read_numbers(item, "WindowWidth"), strict=False)
    windows = [
        Window(center, width, function, "header", n, explanations[n - 1] if n <= len(explanations) else "")
        for n, (center, width) in enumerate(pairs, 1)
    ]
    remarks += [
        f"Window Width must be {'≥ 1' if function == 'LINEAR' else '> 0'} for {function}, not {w.width:g} "
        "(PS3.3 C.11.2.1.2): this window was not used."
        for w in windows
        if not w.is_valid
    ]
    return [w for w in windows if w.is_valid], _read_luts(item.get("VOILUTSequence")), remarks


def read_first_window(dataset: Dataset) -> tuple[float, float] | None:
    """Center and width of the first valid window of an image of one frame, or None."""
    windows, _, _ = read_windows_and_luts(dataset, 0)
    return (windows[0].center, windows[0].width) if windows else None


def is_inverted(dataset: Dataset) -> bool:
    """Whether low values are shown white (PS3.3 C.7.6.3.1.2 MONOCHROME1, C.11.6.1.2 INVERSE)."""
    photometric, shape = dataset.get("PhotometricInterpretation"), dataset.get("PresentationLUTShape")
    return bool(photometric == "MONOCHROME1" or shape == "INVERSE")


def find_functional_group(dataset: Dataset, frame: int, sequence: str) -> Dataset:
    """The item of this sequence that applies to this frame: per frame, shared, or the dataset itself."""
    for groups in _iterate_functional_groups(dataset, frame):
        items = groups.get(sequence)
        if items:
            return items[0]  # type: ignore[no-any-return]
    return dataset


def _iterate_functional_groups(dataset: Dataset, frame: int) -> Iterator[Dataset]:
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if frame < len(per_frame):
        yield per_frame[frame]
    yield from (dataset.get("SharedFunctionalGroupsSequence") or [])[:1]


def _read_padding(dataset: Dataset) -> tuple[float, float] | None:
    """PS3.3 C.7.5.1.1.2: one value, or with Pixel Padding Range Limit all from the one to the other."""
    value = _first_number(dataset, "PixelPaddingValue", None)
    if value is None:
        return None
    limit = _first_number(dataset, "PixelPaddingRangeLimit", value)
    return min(value, limit), max(value, limit)


def _read_luts(items: Any) -> list[Lut]:
    """The items of a Modality or VOI LUT Sequence that hold a table."""
    found = []
    for number, item in enumerate(items or [], 1):
        descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
        if descriptor is None or len(descriptor) != 3 or data is None:
            continue
        count, first, bits = (int(v) for v in descriptor)
        entries = _read_lut_entries(data, count or 65536, bits)  # C.11.1.1.1: 0 stands for 2^16 entries
        if len(entries):
            found.append(Lut(first, bits, entries.tobytes(), str(item.get("LUTExplanation") or ""), number))
    return found


def _read_lut_entries(data: Any, count: int, bits: int) -> np.ndarray[Any, Any]:
    """LUT Data as uint16: words, or, when 8 bits are packed two a word, bytes (C.11.1.1.1)."""
    if isinstance(data, bytes):
        packed = bits <= 8 and len(data) < 2 * count
        return np.frombuffer(data[: len(data) // 2 * 2], "u1" if packed else "<u2")[:count].astype("<u2")
    values = np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF
    if bits <= 8 and len(values) < count:
        values = values.astype("<u2").view("u1")
    return values[:count].astype("<u2")


def read_numbers(item: Dataset, keyword: str) -> list[float]:
    """All values of a number element; what cannot be read is no value."""
    try:
        value = item.get(keyword)
        return [float(v) for v in (value if isinstance(value, MultiValue) else [value]) if v not in (None, "")]
    except (ValueError, TypeError, OverflowError):
        return []


def _first_number(item: Dataset, keyword: str, default: Any) -> Any:
    return (read_numbers(item, keyword) or [default])[0]


def _read_texts(item: Dataset, keyword: str) -> list[str]:
    value = item.get(keyword)
    return [str(v) for v in (value if isinstance(value, MultiValue) else [value]) if v is not None]
