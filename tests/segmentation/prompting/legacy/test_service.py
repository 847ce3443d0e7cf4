"""The older client's pictures: every prompt counts, wrong ones are refused, results are their user's and end."""

import base64
import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from PIL import Image

from data import shared_data
from minipacs.errors import BadRequest, EngineUnavailable, NotFound, Unreadable, WrongPrompts
from minipacs.settings import Settings
from segmentation.engines.geodesic.engine import GeodesicEngine
from segmentation.prompter import Prompter
from segmentation.prompting.legacy.picture import encode_png, read_picture
from segmentation.prompting.legacy.service import RETENTION_S, PictureService


def make_picture_file(kind: str = "PNG") -> bytes:
    """Two bright discs on dark noise, 200 columns × 140 rows."""
    rows, columns = np.ogrid[:140, :200]
    grey = np.random.default_rng(1).normal(60, 5, (140, 200))
    grey[np.hypot(rows - 40, columns - 50) < 20] = 170
    grey[np.hypot(rows - 90, columns - 140) < 25] = 170
    stream = BytesIO()
    Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


def make_disc_mask(row: int, column: int, radius: int) -> np.ndarray:
    rows, columns = np.ogrid[:140, :200]
    return np.hypot(rows - row, columns - column) < radius


ONE = {"startX": 25, "startY": 15, "width": 50, "height": 50}
OTHER = {"startX": 170, "startY": 120, "width": -60, "height": -60}
ONE_DISC, OTHER_DISC = make_disc_mask(40, 50, 20), make_disc_mask(90, 140, 25)


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def pictures(now: list[float]) -> PictureService:
    """With the embedded method alone."""

    def engine(name: str) -> Prompter:
        if name != "geodesic":
            raise EngineUnavailable("No SAM model is set.")
        return GeodesicEngine()

    return PictureService(engine, clock=lambda: now[0])


def make_request(content: bytes, asked: Any) -> dict[str, str]:
    return {"file": base64.b64encode(content).decode(), "asked": json.dumps(asked)}


def find_red_pixels(png: bytes) -> np.ndarray:
    """Where the answered PNG is red."""
    shown = np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)
    return shown[..., 0] - shown[..., 1] > 60


def measure_dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / max(1, int(one.sum() + other.sum()))


@pytest.mark.parametrize(
    ("asked", "truth"),
    [
        ({"rectangles": [ONE]}, ONE_DISC),
        ({"rectangles": [ONE, OTHER]}, ONE_DISC | OTHER_DISC),
        ({"positive_points": [{"x": 50, "y": 40}]}, ONE_DISC),
        ({"positive_points": [{"x": 50, "y": 40}, {"x": 140, "y": 90}]}, ONE_DISC | OTHER_DISC),
        ({"rectangles": [ONE], "negative_points": [{"x": 28, "y": 18}], "model": "vit_h"}, ONE_DISC),
        ({"rectangles": [OTHER], "positive_points": [{"x": 50.7, "y": 40.2}], "model": "x"}, ONE_DISC | OTHER_DISC),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_prompt_counts(pictures: PictureService, asked: Any, truth: np.ndarray, kind: str) -> None:
    answer = pictures.segment("ann", make_request(make_picture_file(kind), asked))
    assert measure_dice(find_red_pixels(pictures.get("ann", answer["timestamp"]).png), truth) > 0.93


def test_a_picture_of_16_bits_keeps_its_grey_values(pictures: PictureService) -> None:
    grey = (
        np.asarray(Image.open(BytesIO(make_picture_file()))).astype(np.uint16) * 16
    )  # 12 bits used: nearly black in a browser
    stream = BytesIO()
    Image.fromarray(grey).save(stream, "PNG")
    given = read_picture(stream.getvalue())
    assert np.array_equal(given.values, grey)
    assert np.array_equal(given.shown[..., 1], grey >> 8)
    name = pictures.segment("ann", make_request(stream.getvalue(), {"rectangles": [ONE]}))["timestamp"]
    assert measure_dice(find_red_pixels(pictures.get("ann", name).png), ONE_DISC) > 0.93


def test_a_photograph_is_turned_as_a_browser_turns_it() -> None:
    turned = Image.open(BytesIO(make_picture_file()))
    exif = turned.getexif()
    exif[0x0112] = 6  # Orientation: to be turned clockwise
    stream = BytesIO()
    turned.save(stream, "JPEG", exif=exif, quality=95)
    given = read_picture(stream.getvalue())
    assert given.values.shape == (200, 140)
    assert given.values[50, 140 - 40] > 150


def test_negative_points_alone_are_no_error(pictures: PictureService) -> None:
    answer = pictures.segment("ann", make_request(make_picture_file(), {"negative_points": [{"x": 3, "y": 3}]}))
    assert not find_red_pixels(pictures.get("ann", answer["timestamp"]).png)[3, 3]


def test_a_picture_without_patient_becomes_a_capture_that_claims_none(pictures: PictureService) -> None:
    answer = pictures.segment("ann", make_request(make_picture_file(), {"rectangles": [ONE]}))
    made = pydicom.dcmread(BytesIO(pictures.get("ann", answer["timestamp"]).dicom))
    assert made.SOPClassUID.name == "Secondary Capture Image Storage"
    assert made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID
    assert (made.PatientName, made.PatientID) == ("", "")
    assert made.ImageType[0] == "DERIVED"
    assert measure_dice(find_red_pixels(_encode_pixels_as_png(made)), ONE_DISC) > 0.93
    again = pictures.segment("ann", make_request(make_picture_file(), {"rectangles": [ONE]}))
    assert pydicom.dcmread(BytesIO(pictures.get("ann", again["timestamp"]).dicom)).SOPInstanceUID == made.SOPInstanceUID


def _encode_pixels_as_png(made: pydicom.Dataset) -> bytes:
    return encode_png(made.pixel_array)


def test_a_dicom_image_becomes_a_seg_that_refers_to_it(
    pictures: PictureService, series: Any, phantom: Callable[..., np.ndarray]
) -> None:
    described = series(shape=(12, 80, 120))
    image = described.images(phantom(described))[6]
    stream = BytesIO()
    image.save_as(stream, enforce_file_format=True)
    answer = pictures.segment("ann", make_request(stream.getvalue(), {"positive_points": [{"x": 70, "y": 40}]}))
    result = pictures.get("ann", answer["timestamp"])
    seg = highdicom.seg.segread(BytesIO(result.dicom))
    assert seg.PatientID == "P1"
    assert seg.StudyInstanceUID == image.StudyInstanceUID
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    mask = seg.get_pixels_by_source_instance([image.SOPInstanceUID])[0, ..., 0] > 0
    assert measure_dice(mask, phantom(described)[6] == 40) > 0.9
    assert np.array_equal(find_red_pixels(result.png), mask)


@pytest.mark.parametrize(
    ("keyword", "value"), [("PhotometricInterpretation", "MONOCHROME1"), ("PresentationLUTShape", "INVERSE")]
)
def test_an_inverted_image_is_shown_to_people_and_models_alike(
    series: Any, phantom: Callable[..., np.ndarray], keyword: str, value: str
) -> None:
    def grey(image: pydicom.Dataset) -> np.ndarray:
        stream = BytesIO()
        image.save_as(stream, enforce_file_format=True)
        given = read_picture(stream.getvalue())
        seen = given.one_slice_series.render_grey(0, given.one_slice_series.get_window(0))
        assert np.array_equal(given.shown, np.repeat(seen[..., None], 3, 2))
        return seen

    described = series(shape=(12, 80, 120))
    image = described.images(phantom(described))[6]
    upright = grey(image)
    setattr(image, keyword, value)
    assert np.abs(grey(image) + upright.astype(int) - 255).max() <= 1  # either's fraction is cut
    assert len(np.unique(upright)) > 1


def test_a_real_projection_image_without_a_frame_of_reference_gets_a_seg(pictures: PictureService) -> None:
    folder = shared_data("mono1_dx_cr")
    done = 0
    for file in sorted(folder.rglob("*.dcm")):
        image = pydicom.dcmread(file)
        if int(image.get("NumberOfFrames") or 1) > 1 or "Rows" not in image:
            continue
        whole = {"startX": image.Columns / 4, "startY": image.Rows / 4, "width": image.Columns / 2,
                 "height": image.Rows / 2}  # fmt: skip
        answer = pictures.segment("ann", make_request(file.read_bytes(), {"rectangles": [whole]}))
        made = pydicom.dcmread(BytesIO(pictures.get("ann", answer["timestamp"]).dicom))
        assert made.SOPClassUID.name == "Segmentation Storage"
        assert made.StudyInstanceUID == image.StudyInstanceUID
        done += 1
        if done == 2:
            break
    assert done


def test_a_result_is_its_users_and_ends(pictures: PictureService, now: list[float]) -> None:
    name = pictures.segment("ann", make_request(make_picture_file(), {"rectangles": [ONE]}))["timestamp"]
    other = pictures.segment("ann", make_request(make_picture_file(), {"rectangles": [ONE]}))["timestamp"]
    assert len(name) > 30
    assert name[-24:] != other[-24:]
    with pytest.raises(NotFound):
        pictures.get("bob", name)
    now[0] = RETENTION_S - 1
    pictures.get("ann", name)
    now[0] = RETENTION_S + 1
    with pytest.raises(NotFound):
        pictures.get("ann", name)


@pytest.mark.parametrize(
    ("content", "asked", "error"),
    [
        (b"", {"rectangles": [ONE]}, Unreadable),
        (b"GIF89a" + bytes(50), {"rectangles": [ONE]}, Unreadable),
        (make_picture_file()[:400], {"rectangles": [ONE]}, Unreadable),
        (bytes(128) + b"DICM" + bytes(9), {"rectangles": [ONE]}, Unreadable),
        (make_picture_file(), {}, WrongPrompts),
        (make_picture_file(), [], BadRequest),
        (make_picture_file(), {"rectangles": "x"}, WrongPrompts),
        (make_picture_file(), {"rectangles": [{"startX": 1}]}, WrongPrompts),
        (make_picture_file(), {"rectangles": [{**ONE, "startX": 500}]}, WrongPrompts),
        (make_picture_file(), {"rectangles": [{**ONE, "width": 0}]}, WrongPrompts),
        (make_picture_file(), {"positive_points": [{"x": 200, "y": 3}]}, WrongPrompts),
        (make_picture_file(), {"positive_points": [{"x": float("inf"), "y": 3}]}, WrongPrompts),
        (make_picture_file(), {"positive_points": [{"x": 10**400, "y": 3}]}, WrongPrompts),
        (make_picture_file(), {"negative_points": [3]}, WrongPrompts),
    ],
)
def test_what_cannot_be_used_is_refused(
    pictures: PictureService, content: bytes, asked: Any, error: type[Exception]
) -> None:
    with pytest.raises(error) as refused:
        pictures.segment("ann", make_request(content, asked))
    assert 400 <= refused.value.status < 500  # type: ignore[attr-defined]
    assert refused.value.hint  # type: ignore[attr-defined]


def test_a_picture_beyond_the_limit_is_refused_before_it_is_decoded(pictures: PictureService, series: Any) -> None:
    described = series(shape=(1, 20, 28))
    image = described.images(np.zeros((1, 20, 28), np.int16))[0]
    image.Rows = image.Columns = 60_000
    stream = BytesIO()
    image.save_as(stream, enforce_file_format=True)
    with pytest.raises(Unreadable, match="the limit is 64000000"):
        pictures.segment("ann", make_request(stream.getvalue(), {"positive_points": [{"x": 7, "y": 4}]}))


def test_prompts_that_are_not_json_are_refused(pictures: PictureService, settings: Settings) -> None:
    with pytest.raises(BadRequest, match="not JSON"):
        pictures.segment("ann", {"file": "", "asked": "{"})
