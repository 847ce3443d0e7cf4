"""A study opens with its results ready, and what cannot be drawn says so instead of staying blank."""

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from playwright.sync_api import Page, expect
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, generate_uid

from data import shared_data
from minipacs.local.phantom import write_chest_ct
from stack import RunningStack
from viewer_page import HAS_IMAGE, HAS_REPRESENTATION, show, viewport
from waiting import until

pytestmark = pytest.mark.browser
NEAREST = """z => {
    const [viewport] = window.cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports());
    const far = id => Math.abs(window.cornerstone.metaData.get('imagePlaneModule', id).imagePositionPatient[2] - z);
    const all = viewport.getImageIds().map(far);
    return all.indexOf(Math.min(...all));
}"""
"""Which image of the viewport lies at a height (LPS, mm)."""


def opened(page: Page, stack: RunningStack, study: str, series: str = "") -> None:
    """The viewer, restricted to a series where one is given."""
    restricted = f"&SeriesInstanceUIDs={series}" if series else ""
    page.goto(f"{stack.address}/ohif/viewer?StudyInstanceUIDs={study}{restricted}")


def broken_stream(folder: Path) -> tuple[str, str]:
    """A CT whose compressed pixels no decoder can read; its study and series."""
    (file,) = write_chest_ct(folder, patient_id="BROKEN", slices=1)
    image = pydicom.dcmread(file)
    image.file_meta.TransferSyntaxUID = JPEG2000Lossless
    image.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(200)])
    image["PixelData"].is_undefined_length = True
    image.save_as(file)
    return str(image.StudyInstanceUID), ""


def presentation_state(folder: Path) -> tuple[str, str]:
    """A presentation state, in a view without its image."""
    state = pydicom.dcmread(shared_data("nopixel/prOverlay.dcm"))
    state.StudyInstanceUID, state.SeriesInstanceUID, state.SOPInstanceUID = (generate_uid() for _ in range(3))
    state.file_meta.MediaStorageSOPInstanceUID = state.SOPInstanceUID
    folder.mkdir(exist_ok=True)
    state.save_as(folder / "state.dcm")
    return str(state.StudyInstanceUID), ""


def lone_segmentation(folder: Path) -> tuple[str, str]:
    """A SEG in a view without the series it was made on."""
    seg = pydicom.dcmread(shared_data("nopixel/seg.dcm"))
    folder.mkdir(exist_ok=True)
    seg.save_as(folder / "seg.dcm")
    return str(seg.StudyInstanceUID), str(seg.SeriesInstanceUID)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (broken_stream, "This CT series cannot be drawn: the compressed pixels of an image cannot be decoded."),
        (presentation_state, "holds nothing that the viewer can draw: PR"),
        (lone_segmentation, "This SEG cannot be drawn: the series it was made on is not in this view"),
    ],
)
def test_what_cannot_be_drawn_says_so(
    page: Page,
    stack: RunningStack,
    tmp_path: Path,
    artefacts: Path,
    make: Callable[[Path], tuple[str, str]],
    sentence: str,
) -> None:
    study, series = make(tmp_path / "files")
    stack.send(tmp_path / "files")
    opened(page, stack, study, series)
    message = page.locator(".mp-message")
    expect(message).to_contain_text(sentence)
    page.screenshot(path=artefacts / f"message-{make.__name__}.png")
    assert message.get_by_role("link").get_attribute("href") == f"/studies/{study}"


def test_images_without_a_position_are_drawn_without_a_message(
    page: Page, stack: RunningStack, tmp_path: Path, artefacts: Path
) -> None:
    for file in write_chest_ct(tmp_path, patient_id="NOWHERE", slices=12):
        image = pydicom.dcmread(file)
        del image.ImagePositionPatient
        image.save_as(file)
    stack.send(tmp_path)
    opened(page, stack, str(image.StudyInstanceUID))
    page.wait_for_function(HAS_IMAGE)
    page.screenshot(path=artefacts / "without-position.png")
    expect(page.locator(".mp-message")).to_have_count(0)


def red(page: Page) -> int:
    """Pixels of the structure set's own colour; our segments have others."""
    picture = viewport(page)
    return int(((picture[..., 0] > 200) & (picture[..., 1:].max(-1) < 90)).sum())


def test_a_structure_set_is_drawn_on_the_series_it_names(page: Page, stack: RunningStack, artefacts: Path) -> None:
    folder = shared_data("petctmr_sts_001")
    for name in ("CT", "CT_RTSTRUCT", "MR_T1"):
        (study,) = stack.send(folder / name)
    stack.wait_jobs(study, "catalogue")
    (contour, *_) = pydicom.dcmread(folder / "CT_RTSTRUCT/RS.dcm").ROIContourSequence[0].ContourSequence
    opened(page, stack, study)
    page.wait_for_function(HAS_IMAGE)
    page.get_by_text("IBSI_1_STS_001_CT_mask").first.dblclick()
    page.get_by_role("button", name="Yes").click()
    page.wait_for_function(HAS_REPRESENTATION)

    def has_contour() -> bool:
        """The viewer may go back to its own first image once more while the structure set is loaded."""
        show(page, page.evaluate(NEAREST, float(contour.ContourData[2])))
        return red(page) > 100

    try:
        until(has_contour, what="the contour")
    finally:
        page.screenshot(path=artefacts / "structure-set.png")
