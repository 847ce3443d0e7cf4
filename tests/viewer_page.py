"""OHIF in a browser, as tests drive it: open a study, go to a slice, look at the picture."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from stack import RunningStack

HAS_IMAGE = """() => window.cornerstone?.getRenderingEngines()
    .flatMap(engine => engine.getViewports()).some(viewport => viewport.getImageData?.())"""
HAS_SEGMENTATION = "() => window.cornerstoneTools?.segmentation.state.getSegmentations().length > 0"
HAS_REPRESENTATION = """() => {
    if (!window.cornerstone?.getRenderingEngines().length) return false;  // OHIF's services come into being before it
    const { viewportGridService, segmentationService } = window.services;
    const { activeViewportId } = viewportGridService.getState();
    return segmentationService.getSegmentationRepresentations(activeViewportId).length > 0;
}"""
"""Whether a segmentation lies over the active viewport."""
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
    page.wait_for_function(HAS_IMAGE)
    show(page, middle)


def show(page: Page, index: int) -> None:
    page.wait_for_function(HAS_SLICE, arg=index)
    page.evaluate(JUMP, index)
    page.wait_for_function(IS_DRAWN, arg=index)


def viewport(page: Page) -> NDArray[np.int16]:
    """The picture inside the viewport, without its text: (rows, columns, RGB)."""
    element = page.locator(".cornerstone-canvas").first
    picture = np.asarray(Image.open(BytesIO(element.screenshot())).convert("RGB"), np.int16)
    rows, columns = picture.shape[:2]
    return picture[rows // 6 : -rows // 6, columns // 6 : -columns // 6]


def coloured(picture: NDArray[np.int16]) -> int:
    """How many pixels are not grey."""
    return int(((picture.max(2) - picture.min(2)) > SATURATED).sum())


def open_panel(page: Page) -> None:
    """Our "Segment" panel."""
    page.locator('[data-cy="segment-btn"]').first.click()
    page.locator(".minipacs-panel").wait_for()
