"""One picture and its prompts in pixels, as the older client sends them: PNG, JPEG or DICOM in, mask out.

The answer is a PNG with the segment in red, and a DICOM object: a SEG that refers to the image where that
was DICOM, else a Secondary Capture that claims no patient.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from minipacs.errors import BadRequest, Unreadable, WrongPrompts
from minipacs.work import MANUFACTURER
from segmentation import codes
from segmentation.encode import encode
from segmentation.engine import Labelmap, Segment
from segmentation.identity import Identity, derived_uid, parameters_digest
from segmentation.prompting.plane import Clues, Mask, Pixel, Rectangle
from segmentation.prompting.wish import Prompter, Source, Wish
from segmentation.volume import Slices, values

MOST_PIXELS = 64_000_000
MOST_PROMPTS = 500
RED, ALPHA = (255, 0, 0), 0.5
IDENTITY_8_BIT = (128.0, 256.0)
"""The window that shows 8 bits as they are (PS3.3 C.11.2.1.2.1)."""
SEGMENT = Segment("Prompted", codes.TISSUE, codes.TISSUE, color=RED, algorithm="SEMIAUTOMATIC")


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


def read(content: bytes) -> Picture:
    """The picture in a file; raises `Unreadable`."""
    if content[128:132] == b"DICM":
        return _dicom(content)
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(BytesIO(content), formats=("PNG", "JPEG")) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise Unreadable(
                    f"The picture has more than {MOST_PIXELS // 10**6} million pixels.", "Send a smaller one."
                )
            upright = ImageOps.exif_transpose(opened)  # as a browser shows it, and counts its pixels
            deep = np.asarray(upright, np.uint16) if upright.mode.startswith("I") else None
            shown = np.asarray(upright.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable("The file is neither PNG, JPEG nor DICOM, or it is broken.", "Send one of these.") from error
    if deep is not None:
        return Picture(deep, np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, 2), "OT", None, None)
    grey = np.rint(shown @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)  # ITU-R BT.601
    return Picture(grey, shown, "OT", IDENTITY_8_BIT, None)


def _dicom(content: bytes) -> Picture:
    from segmentation.prompting.held import window_of

    try:
        image = dcmread(BytesIO(content))
    except (InvalidDicomError, EOFError, OSError, ValueError) as error:
        raise Unreadable("The file is not a whole DICOM file.", "Send it again.") from error
    if int(image.get("NumberOfFrames") or 1) != 1 or int(image.get("SamplesPerPixel") or 0) != 1:
        raise Unreadable("The DICOM object is not one grey-scale image of one frame.", "Send a single image.")
    if not all(image.get(k) for k in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")):
        raise Unreadable("The DICOM image has no UIDs: nothing could refer to it.", "Send the original.")
    plane, modality, window = values(image), str(image.get("Modality", "")), window_of(image)
    source = _source(plane, modality, window)
    grey = source.grey(0, source.window(0))
    if image.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return Picture(plane, np.repeat(grey[..., None], 3, 2), modality, window, image)


def clues(asked: Mapping[str, Any], shape: tuple[int, int]) -> Clues:
    """The prompts of the older client: `rectangles`, `positive_points`, `negative_points`; pixels from the corner.

    Negative points alone leave the rest of the picture: as if a rectangle had been drawn around it.
    """
    boxes = tuple(_rectangle(r, shape) for r in _list(asked, "rectangles"))
    positive = tuple(_pixel(p, shape) for p in _list(asked, "positive_points"))
    negative = tuple(_pixel(p, shape) for p in _list(asked, "negative_points"))
    if not (boxes or positive or negative):
        raise WrongPrompts("There is no rectangle and no point.", "Draw a rectangle, or click on what is wanted.")
    if not (boxes or positive):
        boxes = ((0, 0, shape[0] - 1, shape[1] - 1),)
    return Clues(boxes, positive, negative)


def segment(prompter: Prompter, picture: Picture, clue: Clues) -> Mask:
    """The mask, (rows, columns)."""
    name = sha256(picture.values.tobytes()).hexdigest()
    source = _source(picture.values, picture.modality, picture.window, name)
    masks = prompter.masks(source, Wish({0: clue}, (0, 0)))
    return masks.get(0, np.zeros(picture.values.shape, np.bool_))


def overlay(picture: Picture, mask: Mask) -> NDArray[np.uint8]:
    """The picture with the mask in red, (rows, columns, 3)."""
    shown = picture.shown.copy()
    shown[mask] = np.rint((1 - ALPHA) * shown[mask] + ALPHA * np.array(RED)).astype(np.uint8)
    return shown


def png(shown: NDArray[np.uint8]) -> bytes:
    """As a PNG file."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(shown).save(stream, "PNG")
    return stream.getvalue()


def dicom(picture: Picture, mask: Mask, prompter: Prompter, asked: Mapping[str, Any], user: str) -> bytes:
    """The result as a DICOM file (PS3.10)."""
    made_of = parameters_digest({"asked": dict(asked), "user": user})
    if picture.image is not None and mask.any():
        made = _seg(picture, mask, Identity("", "", prompter.name, prompter.version, made_of))
    else:
        made = _capture(overlay(picture, mask), prompter, made_of)
    stream = BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


# -- DICOM ------------------------------------------------------------------------------------------
def _seg(picture: Picture, mask: Mask, identity: Identity) -> Dataset:
    from dataclasses import replace

    from highdicom import VolumeGeometry

    image = cast(Dataset, picture.image)
    uid = str(image.SOPInstanceUID)
    identity = replace(identity, series_instance_uid=str(image.SeriesInstanceUID), digest=uid)
    geometry = VolumeGeometry(np.eye(4), (1, *mask.shape), "PATIENT")
    labelmap = Labelmap(mask[None].astype(np.uint8), geometry, (SEGMENT,))
    return encode(labelmap, Slices((image,), np.eye(4)), identity)


def _capture(shown: NDArray[np.uint8], prompter: Prompter, made_of: str) -> Dataset:
    """A Secondary Capture (PS3.3 A.8.1) of no known patient."""
    now, digest = datetime.now(UTC), sha256(shown.tobytes()).hexdigest()
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = SecondaryCaptureImageStorage
    made.SOPInstanceUID = derived_uid(digest, made_of, "capture")
    made.StudyInstanceUID = derived_uid(digest, made_of, "capture study")
    made.SeriesInstanceUID = derived_uid(digest, made_of, "capture series")
    made.PatientName = made.PatientID = made.PatientBirthDate = made.PatientSex = ""
    made.StudyDate = made.StudyTime = made.StudyID = made.AccessionNumber = made.ReferringPhysicianName = ""
    made.ContentDate, made.ContentTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    made.TimezoneOffsetFromUTC = "+0000"
    made.Modality, made.ConversionType = "OT", "WSD"
    made.SeriesNumber, made.InstanceNumber = 1, 1
    made.PatientOrientation = ""
    made.Manufacturer = MANUFACTURER
    made.ManufacturerModelName, made.SoftwareVersions = prompter.name, prompter.version[:64]
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.SeriesDescription = f"{prompter.name} segmentation of a picture"
    made.DerivationDescription = "A received picture without patient; the segment is drawn in red."
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.Rows, made.Columns = shown.shape[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    content = np.ascontiguousarray(shown).tobytes()
    made.PixelData = content + b"\0" * (len(content) % 2)
    return made


# -- what was asked ---------------------------------------------------------------------------------
def body(request: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The file and the prompts of a request, as the front door hands them over."""
    try:
        asked = json.loads(str(request.get("asked") or "{}"))
    except (ValueError, RecursionError) as error:
        raise BadRequest("The prompts are not JSON.", "Send them in the form field `sam_input`.") from error
    if not isinstance(asked, dict):
        raise BadRequest("The prompts are not a JSON object.", "Send them in the form field `sam_input`.")
    return base64.b64decode(str(request.get("file") or "")), asked


def _source(plane: NDArray[Any], modality: str, window: tuple[float, float] | None, name: str = "picture") -> Source:
    volume: Any = SimpleNamespace(array=plane[None])
    return Source(volume, modality, [name], [window])


def _list(asked: Mapping[str, Any], name: str) -> list[Any]:
    found = asked.get(name) or []
    if not isinstance(found, list) or len(found) > MOST_PROMPTS:
        raise WrongPrompts(f"`{name}` is not a list of at most {MOST_PROMPTS}.", "Correct it.")
    return found


def _numbers(value: Any, *names: str) -> list[float]:
    found = [value.get(name) if isinstance(value, dict) else None for name in names]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < MOST_PIXELS for n in found):
        raise WrongPrompts(f"A prompt lacks one of the numbers {', '.join(names)}.", "Correct it.")
    return [float(cast(float, n)) for n in found]


def _pixel(value: Any, shape: tuple[int, int]) -> Pixel:
    x, y = _numbers(value, "x", "y")
    if not (0 <= x < shape[1] and 0 <= y < shape[0]):
        raise WrongPrompts(
            f"The point {x:g}, {y:g} lies outside of the picture of {shape[1]} × {shape[0]}.", "Correct it."
        )
    return int(y), int(x)


def _rectangle(value: Any, shape: tuple[int, int]) -> Rectangle:
    x, y, width, height = _numbers(value, "startX", "startY", "width", "height")
    left, right = sorted((x, x + width))  # drawn towards any side
    top, bottom = sorted((y, y + height))
    if right <= 0 or bottom <= 0 or left >= shape[1] or top >= shape[0] or right - left < 2 or bottom - top < 2:
        raise WrongPrompts("A rectangle lies outside of the picture, or is narrower than two pixels.", "Correct it.")
    return max(0, int(top)), max(0, int(left)), min(shape[0] - 1, int(bottom)), min(shape[1] - 1, int(right))
