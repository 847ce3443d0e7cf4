"""A picture of a result for lists and reports: three planes with colored segments, and their names."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minipacs.formats.hounsfield import is_hounsfield
from segmentation.labelmap import Labelmap, Segment

if TYPE_CHECKING:
    from highdicom import Volume

HEIGHT = 400
"""Pixels of the volume's longest side; all planes have one scale."""
ALPHA = 0.45
CT_WINDOW = (-600.0, 350.0)
"""HU shown black and white."""
LINE = 18
"""Pixels of a line of the legend."""


def write_preview(labelmap: Labelmap, volume: "Volume", path: Path) -> None:
    """Axial, coronal and sagittal plane through the middle of the segments, seen as radiologists do.

    The patient's right is on the left of axial and coronal planes, the head is up, the face of the
    sagittal plane looks to the left. An oblique volume is shown along its own nearest axes.
    """
    from PIL import Image

    upright = ("F", "P", "L")  # indices increase towards feet, back, left
    values = volume.to_patient_orientation(upright)
    labels = volume.with_array(labelmap.array).to_patient_orientation(upright).array
    middle = _find_middle(labels, labelmap.segments)
    black, white = _choose_window(values.array, labelmap)
    colors = np.array([(0, 0, 0), *(segment.color for segment in labelmap.segments)], np.float32)
    extents = [n * s for n, s in zip(labels.shape, values.spacing, strict=True)]
    pixels_per_mm = HEIGHT / max(extents)
    planes = []

    for axis in range(3):
        size = tuple(max(1, round(extents[k] * pixels_per_mm)) for k in range(3) if k != axis)
        here: tuple[Any, ...] = (*[slice(None)] * axis, middle[axis])  # np.take would copy the turned volume first
        grey = np.clip((values.array[here].astype(np.float32) - black) / max(white - black, 1e-6), 0, 1) * 255
        planes.append(_draw_plane(grey, labels[here], colors, size))

    row = np.concatenate([_pad_plane(plane, max(p.shape[0] for p in planes)) for plane in planes], axis=1)
    picture = Image.fromarray(row)
    _add_legend(picture, labelmap.segments).save(path)


def _find_middle(labels: NDArray[np.unsignedinteger], segments: Sequence[Segment]) -> list[int]:
    """Indices of the planes that show most: the centre of all that is not left over."""
    shown = np.zeros(len(segments) + 1, bool)
    shown[1:] = [segment.surface and not segment.encloses for segment in segments]
    if not shown.any():
        shown[1:] = True

    step = tuple(max(1, n // 128) for n in labels.shape)  # a centre needs no more
    inside = shown[labels[:: step[0], :: step[1], :: step[2]]]
    centre = []

    for axis in range(3):
        profile = inside.sum(axis=tuple(k for k in range(3) if k != axis), dtype=np.float64)
        centre.append(
            int(np.searchsorted(np.cumsum(profile), profile.sum() / 2)) * step[axis]
            if profile.any()
            else labels.shape[axis] // 2
        )

    return [min(c, n - 1) for c, n in zip(centre, labels.shape, strict=True)]


def _choose_window(values: NDArray[Any], labelmap: Labelmap) -> tuple[float, float]:
    if is_hounsfield(values.min()):
        return CT_WINDOW

    low, high = np.percentile(values[:: max(1, len(values) // 16)], (1, 99.5))
    return float(low), float(high)


def _draw_plane(
    grey: NDArray[Any], labels: NDArray[Any], colors: NDArray[np.float32], size: tuple[int, ...]
) -> NDArray[np.uint8]:
    """The plane at this size (rows, columns); segments over it."""
    import cv2

    shrinks = size[0] < grey.shape[0]
    grey = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    labels = cv2.resize(labels.astype(np.uint16), size[::-1], interpolation=cv2.INTER_NEAREST)
    over = (labels > 0)[..., None] * np.float32(ALPHA)
    picture: NDArray[np.uint8] = (grey[..., None] * (1 - over) + colors[labels] * over).astype(np.uint8)

    return picture


def _pad_plane(plane: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """In the middle of this height, with an edge between planes."""
    above = (height - plane.shape[0]) // 2
    return np.pad(plane, ((above, height - plane.shape[0] - above), (0, 4), (0, 0)))


def _add_legend(picture: "Image", segments: Sequence[Segment]) -> "Image":  # type: ignore[name-defined]  # noqa: F821
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(13)
    columns = max(1, picture.width // 190)
    shown = list(segments)[: 6 * columns]
    lines = -(-len(shown) // columns)
    whole = Image.new("RGB", (picture.width, picture.height + LINE * lines + 8))
    whole.paste(picture)
    draw = ImageDraw.Draw(whole)

    for n, segment in enumerate(shown):
        x, y = 6 + (n % columns) * 190, picture.height + 4 + (n // columns) * LINE
        draw.rectangle((x, y + 3, x + 11, y + 13), fill=segment.color)
        draw.text((x + 17, y), segment.label, fill=(220, 220, 220), font=font)

    return whole
