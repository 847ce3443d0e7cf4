"""What cannot be drawn says so instead of staying blank."""

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from playwright.sync_api import Page, expect
from pydicom.uid import generate_uid

from data import shared_data
from stack import RunningStack

pytestmark = pytest.mark.browser


def opened(page: Page, stack: RunningStack, study: str, series: str = "") -> None:
    """The viewer, restricted to a series where one is given."""
    restricted = f"&SeriesInstanceUIDs={series}" if series else ""
    page.goto(f"{stack.address}/ohif/viewer?StudyInstanceUIDs={study}{restricted}")


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
    expect(message).to_contain_text(sentence, timeout=90_000)
    page.screenshot(path=artefacts / f"message-{make.__name__}.png")
    assert message.get_by_role("link").get_attribute("href") == f"/studies/{study}"
