"""One picture, as the older client sends it: PNG, JPEG or DICOM in, the segment in red out."""

from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from minipacs.errors import Unreadable
from minipacs.formats.dicom_file import read_dicom
from minipacs.formats.grey_header import is_inverted, read_first_window
from minipacs.formats.parsing import translate_parser_errors
from minipacs.formats.uids import is_uid
from minipacs.memory.size_limits import check_frame_size
from segmentation.prompter import Mask, PromptedSeries
from segmentation.series_volume import decode_modality_values

MAX_PIXELS = 64_000_000
"""Of a picture."""
COLOURS = 3
RED, ALPHA = (255, 0, 0), 0.5
IDENTITY_8_BIT = (128.0, 256.0)
"""The window that shows 8 bits as they are (PS3.3 C.11.2.1.2.1)."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What was received."""

    values: NDArray[Any]
    """(rows, columns): grey, or the DICOM image's modality values."""
    shown: NDArray[np.uint8]
    """(rows, columns, 3): as people see it."""
    modality: str
    window: tuple[float, float] | None
    image: Dataset | None
    """The DICOM image, if it is one."""

    @property
    def one_slice_series(self) -> PromptedSeries:
        """As a prompt engine sees it: a series of one slice."""
        volume: Any = SimpleNamespace(array=self.values[None])
        inverted = self.image is not None and is_inverted(self.image)
        name = sha256(self.values.tobytes()).hexdigest()

        return PromptedSeries(volume, self.modality, [name], [self.window], inverted)

    def draw_overlay(self, mask: Mask) -> NDArray[np.uint8]:
        """As people see it, with the mask in red, (rows, columns, 3)."""
        shown = self.shown.copy()
        shown[mask] = np.rint((1 - ALPHA) * shown[mask] + ALPHA * np.array(RED)).astype(np.uint8)
        return shown


def read_picture(content: bytes) -> Picture:
    """The picture in a file; raises `Unreadable`."""
    if content[128:132] == b"DICM":
        return _read_dicom(content)

    from PIL import Image, ImageOps

    with (
        translate_parser_errors("The file is neither PNG, JPEG nor DICOM, or it is broken", "Send one of these."),
        Image.open(BytesIO(content), formats=("PNG", "JPEG")) as opened,
    ):
        _check_size(opened.width * opened.height)
        upright = ImageOps.exif_transpose(opened)  # as a browser shows it, and counts its pixels
        deep = np.asarray(upright, np.uint16) if upright.mode.startswith("I") else None
        shown = np.asarray(upright.convert("RGB"))

    if deep is not None:
        return Picture(deep, np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, 2), "OT", None, None)

    grey = np.empty(shown.shape[:2], np.uint8)
    for colours, greys in zip(shown, grey, strict=True):  # row by row: the whole as float64 would be much larger
        greys[:] = np.rint(colours @ np.array([0.299, 0.587, 0.114]))  # ITU-R BT.601

    return Picture(grey, shown, "OT", IDENTITY_8_BIT, None)


def encode_png(shown: NDArray[np.uint8]) -> bytes:
    """A PNG file of (rows, columns, 3)."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(shown).save(stream, "PNG")

    return stream.getvalue()


@translate_parser_errors("The DICOM file has a broken element", "Send it again.")
def _read_dicom(content: bytes) -> Picture:
    image = read_dicom(BytesIO(content))

    if int(image.get("NumberOfFrames") or 1) != 1 or int(image.get("SamplesPerPixel") or 0) != 1:
        raise Unreadable("The DICOM object is not one grey-scale image of one frame.", "Send a single image.")

    _check_size(int(image.get("Rows") or 0) * int(image.get("Columns") or 0))
    uids = [image.get(k) for k in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")]
    if not all(is_uid(str(uid or "")) for uid in uids):
        raise Unreadable("The DICOM image has no UIDs: nothing could refer to it.", "Send the original.")

    plane, modality, window = decode_modality_values(image), str(image.get("Modality", "")), read_first_window(image)
    picture = Picture(plane, np.empty((*plane.shape, 3), np.uint8), modality, window, image)
    picture.shown[:] = picture.one_slice_series.render_grey(0, picture.one_slice_series.get_window(0))[..., None]

    return picture


def _check_size(pixels: int) -> None:
    """Raise `Unreadable` before pixels are decoded: a small file can hold a picture that fills the memory."""
    if not 0 < pixels <= MAX_PIXELS:
        raise Unreadable(f"The picture has {pixels} pixels; the limit is {MAX_PIXELS}.", "Send a smaller one.")
    check_frame_size(COLOURS * pixels, "The picture")
