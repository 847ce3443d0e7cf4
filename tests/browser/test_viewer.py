"""What a radiologist sees: the study in OHIF, its segmentation over it, the names beside it."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from data import shared_data
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page
from stack import RunningStack

from minipacs.demo import write_chest_ct

pytestmark = pytest.mark.browser

HAS_IMAGE = """() => window.cornerstone?.getRenderingEngines()
    .flatMap(engine => engine.getViewports()).some(viewport => viewport.getImageData?.())"""
HAS_SEGMENTATION = "() => window.cornerstoneTools?.segmentation.state.getSegmentations().length > 0"
HAS_SLICE = """index => {
    const [viewport] = window.cornerstone?.getRenderingEngines().flatMap(engine => engine.getViewports()) ?? [];
    return (viewport?.getImageIds?.() ?? []).length > index;
}"""
JUMP = """index => {
    const [viewport] = window.cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports());
    return window.cornerstone.utilities.jumpToSlice(viewport.element, { imageIndex: index });
}"""
IS_DRAWN = """index => new Promise(resolve => {
    const [viewport] = window.cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports());
    const shown = () => (viewport.getSliceIndex?.() ?? viewport.getCurrentImageIdIndex()) === index;
    viewport.render();
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(shown())));
})"""
SATURATED = 40
"""Difference of the largest and smallest channel from which a pixel counts as coloured."""


def open_study(page: Page, stack: RunningStack, study: str, middle: int) -> None:
    """The viewer with the study's first image drawn, moved to a slice in the middle."""
    page.goto(f"{stack.address}/ohif/viewer?StudyInstanceUIDs={study}")
    page.wait_for_function(HAS_IMAGE, timeout=90_000)
    show(page, middle)


def show(page: Page, index: int) -> None:
    page.wait_for_function(HAS_SLICE, arg=index, timeout=60_000)
    page.evaluate(JUMP, index)
    page.wait_for_function(IS_DRAWN, arg=index, timeout=30_000)


def viewport(page: Page) -> NDArray[np.int16]:
    """The picture inside the viewport, without its text: (rows, columns, RGB)."""
    element = page.locator(".cornerstone-canvas").first
    picture = np.asarray(Image.open(BytesIO(element.screenshot())).convert("RGB"), np.int16)
    rows, columns = picture.shape[:2]
    return picture[rows // 6 : -rows // 6, columns // 6 : -columns // 6]


def coloured(picture: NDArray[np.int16]) -> int:
    """How many pixels are not grey."""
    return int(((picture.max(2) - picture.min(2)) > SATURATED).sum())


def load_segmentation(page: Page) -> None:
    """As a user does: a double click on the SEG in the list of series, and yes, load it."""
    page.get_by_text("slicer segmentation", exact=False).first.dblclick()
    load = page.get_by_text("LOAD", exact=True)
    for _ in range(600):
        if page.evaluate(HAS_SEGMENTATION):
            break
        if load.count():
            load.first.click()
        page.wait_for_timeout(100)
    page.wait_for_function(HAS_SEGMENTATION, timeout=60_000)


def check_overlay(page: Page, stack: RunningStack, study: str, middle: int, screenshot: Path) -> None:
    open_study(page, stack, study, middle)
    assert coloured(viewport(page)) == 0
    load_segmentation(page)
    show(page, middle)
    page.wait_for_function(IS_DRAWN, arg=middle)
    page.locator('[data-cy="panelSegmentation-btn"], [data-cy*="egmentation"][data-cy$="btn"]').first.click()
    page.get_by_text("Right lung (aerated)").first.wait_for(timeout=30_000)
    names = page.inner_text("body")
    assert {"Right lung (aerated)", "Left lung (aerated)", "Bone"} <= set(names.splitlines())
    picture = viewport(page)
    page.screenshot(path=screenshot)
    assert coloured(picture) > 0.1 * picture.shape[0] * picture.shape[1]


def test_the_study_list_shows_the_study(page: Page, stack: RunningStack, tmp_path: Path, artefacts: Path) -> None:
    write_chest_ct(tmp_path, patient_id="IN-THE-LIST", slices=3)
    (study,) = stack.send(tmp_path)
    stack.wait_jobs(study, "catalogue")
    page.goto(stack.address + "/ohif/")
    page.get_by_text("IN-THE-LIST").first.wait_for(timeout=60_000)
    page.screenshot(path=artefacts / "study-list.png")


def test_the_segmentation_lies_over_the_image_with_its_names(
    page: Page, stack: RunningStack, tmp_path: Path, artefacts: Path
) -> None:
    files = write_chest_ct(tmp_path, patient_id="SEEN-IN-OHIF")
    (study,) = stack.send(tmp_path)
    stack.wait_segmented(study)
    check_overlay(page, stack, study, len(files) // 2, artefacts / "viewer-synthetic.png")


def test_the_segmentation_of_a_real_chest_ct_is_seen(page: Page, stack: RunningStack, artefacts: Path) -> None:
    folder = shared_data("ct_chest_lungdx_A0001")
    study = str(pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True).StudyInstanceUID)
    stack.send(folder)
    stack.wait_segmented(study)
    check_overlay(page, stack, study, 30, artefacts / "viewer-real.png")


def test_a_session_that_ended_leads_back_to_the_login(page: Page, stack: RunningStack) -> None:
    page.context.clear_cookies()
    page.goto(stack.address + "/ohif/")
    page.wait_for_url(re.compile(r"/login\?next="))
