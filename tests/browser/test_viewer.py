"""What a radiologist sees: the study in OHIF, its segmentation over it, the names beside it."""

import re
from pathlib import Path

import pydicom
import pytest
from playwright.sync_api import Page

from data import shared_data
from minipacs.local.phantom import write_chest_ct
from stack import RunningStack
from viewer_page import HAS_REPRESENTATION, IS_DRAWN, coloured, open_study, show, viewport

pytestmark = pytest.mark.browser


def check_overlay(page: Page, stack: RunningStack, study: str, middle: int, screenshot: Path) -> None:
    """The result is ready without a click."""
    open_study(page, stack, study, middle)
    page.wait_for_function(HAS_REPRESENTATION)
    show(page, middle)
    page.wait_for_function(IS_DRAWN, arg=middle)
    page.locator('[data-cy="panelSegmentation-btn"], [data-cy*="egmentation"][data-cy$="btn"]').first.click()
    page.get_by_text("Right lung (aerated)").first.wait_for()
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
    page.get_by_text("IN-THE-LIST").first.wait_for()
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
    page.goto("about:blank")  # an answer that is under way would set the cookie again
    page.context.clear_cookies()
    page.goto(stack.address + "/ohif/")
    page.wait_for_url(re.compile(r"/login\?next="))
