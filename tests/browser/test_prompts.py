"""Two clicks and a box on a structure: a segment at once, stored under a coded name as it was answered."""

import os
import statistics
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, Response, expect

from data import own_copy, shared_data
from stack import RunningStack
from viewer_page import HAS_REPRESENTATION, coloured, open_panel, open_study, show, viewport

pytestmark = pytest.mark.browser

CHEST = "ct_chest_lungdx_A0001"
MIDDLE = 30
AORTA = (5.5, 197.3)
"""The descending aorta on that slice: LPS, mm, x and y."""
NEARER_THE_EDGE = (9.6, 187.5)
BOX = ((-16.0, 172.0), (27.5, 218.0))
ON_SCREEN = """([x, y]) => {
    const [viewport] = window.cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports());
    const z = window.cornerstone.metaData.get('imagePlaneModule', viewport.getCurrentImageId()).imagePositionPatient[2];
    const [left, top] = viewport.worldToCanvas([x, y, z]);
    const frame = viewport.element.getBoundingClientRect();
    return [frame.left + left, frame.top + top];
}"""
NAMES = """() => window.cornerstoneTools.segmentation.state.getSegmentations()
    .flatMap(segmentation => Object.values(segmentation.segments).map(segment => segment.label))"""
WAITED = """() => performance.getEntriesByType('resource')
    .filter(entry => entry.name.endsWith('/prompts')).map(entry => entry.duration)"""
FRAME = """async () => {
    const began = performance.now();
    window.cornerstone.getRenderingEngines().forEach(engine => engine.render());
    await new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    return performance.now() - began;
}"""
CLICK_TO_OVERLAY = "() => performance.getEntriesByName('minipacs: click to overlay').map(entry => entry.duration)"


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real chest CT, as a study of these tests alone: they add segments to it."""
    return own_copy(shared_data(CHEST), tmp_path_factory.mktemp("chest"))


def segmented(stack: RunningStack, folder: Path) -> str:
    """The chest, sent and segmented; its Study Instance UID."""
    (study,) = stack.send(folder)
    stack.wait_segmented(study)
    return study


class Answers:
    """What the prompt service has answered to this page."""

    def __init__(self, page: Page) -> None:
        self._all: list[tuple[int, dict[str, Any]]] = []
        page.on("response", self._keep)

    def _keep(self, response: Response) -> None:
        if response.url.endswith("/prompts") and response.request.method == "POST" and response.ok:
            self._all.append((len(response.request.post_data_json["prompts"]), response.json()))

    def last(self, prompts: int) -> dict[str, Any]:
        """The last answer to so many prompts."""
        return [answer for count, answer in self._all if count == prompts][-1]


def at(page: Page, place: tuple[float, float]) -> tuple[float, float]:
    """Where a place in the patient is on the screen."""
    x, y = page.evaluate(ON_SCREEN, place)
    return x, y


def wait_answers(page: Page, count: int) -> None:
    page.wait_for_function(f"() => ({CLICK_TO_OVERLAY})().length >= {count}")


def from_the_panel(page: Page, tool: str) -> None:
    page.get_by_role("button", name={"positive point": "+ Point", "box": "Box"}[tool]).click()


def from_the_toolbar(page: Page, tool: str) -> None:
    page.locator('[data-cy="MinipacsPrompts-split-button-secondary"] button').click()
    page.get_by_role("menuitem", name=f"Segment: {tool}").click()


def prompt_for_the_aorta(page: Page, choose: Callable[[Page, str], None] = from_the_panel) -> None:
    """Two clicks and a box."""
    choose(page, "positive point")
    page.mouse.click(*at(page, AORTA))
    wait_answers(page, 1)
    page.mouse.click(*at(page, NEARER_THE_EDGE))
    wait_answers(page, 2)
    choose(page, "box")
    (left, top), (right, bottom) = at(page, BOX[0]), at(page, BOX[1])
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move((left + right) / 2, bottom, steps=4)
    page.mouse.move(right, bottom, steps=4)
    page.mouse.up()
    wait_answers(page, 3)


def answered_mask(answer: dict[str, Any], instances: list[str]) -> NDArray[np.uint8]:
    """The runs of an answer as an array (slices, rows, columns)."""
    shape = (answer["rows"], answer["columns"])
    mask = np.zeros((len(instances), *shape), np.uint8)
    for of_slice in answer["slices"]:
        plane = mask[instances.index(of_slice["sop_instance_uid"])].ravel()
        for start, length in zip(of_slice["runs"][::2], of_slice["runs"][1::2], strict=True):
            plane[start : start + length] = 1
    return mask


def stored_mask(seg: hd.seg.Segmentation, instances: list[str]) -> NDArray[np.uint8]:
    pixels = seg.get_pixels_by_source_instance(instances, assert_missing_frames_are_empty=True)
    return np.asarray(pixels[..., 0], np.uint8)


def test_two_clicks_and_a_box_become_a_stored_segment(
    page: Page, stack: RunningStack, chest: Path, artefacts: Path
) -> None:
    study = segmented(stack, chest)
    files = sorted((pydicom.dcmread(p) for p in chest.iterdir()), key=lambda d: d.ImagePositionPatient[2])
    instances = [str(d.SOPInstanceUID) for d in files]
    answers = Answers(page)
    open_study(page, stack, study, MIDDLE)
    open_panel(page)
    page.wait_for_function(HAS_REPRESENTATION)
    show(page, MIDDLE)
    assert {"Right lung (aerated)", "Left lung (aerated)", "Bone"} <= set(page.evaluate(NAMES))
    assert coloured(viewport(page)) > 10_000

    prompt_for_the_aorta(page)
    answer = answers.last(3)
    expect(page.locator(".minipacs-panel [role=status]").last).to_contain_text(f"{answer['voxels']} voxels")
    page.screenshot(path=artefacts / "prompts-answered.png")
    page.get_by_label("Name of the segment").fill("aorta")
    page.get_by_role("option", name="Aorta", exact=True).first.click()
    with page.expect_response(lambda r: r.url.endswith("/accept")) as accepted:
        page.get_by_role("button", name="Accept").click()
    stored = accepted.value.json()
    page.wait_for_function(f"() => ({NAMES})().includes('Aorta')")
    show(page, MIDDLE)
    page.screenshot(path=artefacts / "prompts-stored.png")

    (instance,) = stack.archive.find_ids("Instance", stored["sop_instance_uid"])
    seg = hd.seg.segread(BytesIO(stack.archive.read_file(instance)))
    assert seg.SeriesInstanceUID == stored["series_instance_uid"]
    assert (seg.StudyInstanceUID, seg.FrameOfReferenceUID) == (study, files[0].FrameOfReferenceUID)
    segment = seg.get_segment_description(1)
    assert (segment.segment_label, segment.algorithm_type.value) == ("Aorta", "SEMIAUTOMATIC")
    mask = stored_mask(seg, instances)
    assert mask.sum() == answer["voxels"] > 500
    np.testing.assert_array_equal(mask, answered_mask(answer, instances))

    k, rows, columns = (np.flatnonzero(mask.any(axis)) for axis in ((1, 2), (0, 2), (0, 1)))
    (found,) = k
    spacing, corner = files[found].PixelSpacing, files[found].ImagePositionPatient
    x = float(corner[0]) + float(spacing[1]) * columns.mean()
    y = float(corner[1]) + float(spacing[0]) * rows.mean()
    assert abs(x - AORTA[0]) < 10
    assert abs(y - AORTA[1]) < 15
    assert at(page, (x, y))[0] > at(page, (-100, y))[0]  # LPS: the patient's left is on the right of the screen


def test_undo_and_discard_leave_nothing_behind(page: Page, stack: RunningStack, chest: Path, artefacts: Path) -> None:
    study = segmented(stack, chest)
    held = stack.segs(study)
    answers = Answers(page)
    open_study(page, stack, study, MIDDLE)
    prompt_for_the_aorta(page, from_the_toolbar)
    page.screenshot(path=artefacts / "prompts-toolbar.png")
    page.locator(".minipacs-panel").wait_for()  # the first tool has opened it
    wanted = answers.last(2)["voxels"]
    assert wanted != answers.last(3)["voxels"]
    page.get_by_role("button", name="Undo").click()
    status = page.locator(".minipacs-panel [role=status]").last
    expect(status).to_contain_text(f"{wanted} voxels")
    assert "Prompt result" in page.evaluate(NAMES)
    with page.expect_response(lambda r: r.request.method == "DELETE" and "/prompts/" in r.url):
        page.get_by_role("button", name="Discard").click()
    page.wait_for_function(f"() => !({NAMES})().includes('Prompt result')")
    assert stack.segs(study) == held


def test_an_overlay_follows_its_click_at_once(page: Page, stack: RunningStack, chest: Path) -> None:
    """MINIPACS_PROMPTS_SLICES=20 on a machine that does nothing else; docs/benchmarks.md has figures."""
    slices = int(os.environ.get("MINIPACS_PROMPTS_SLICES", "0"))
    open_study(page, stack, segmented(stack, chest), MIDDLE)
    open_panel(page)
    page.wait_for_function(HAS_REPRESENTATION)
    from_the_panel(page, "positive point")
    for number in range(slices or 2):
        show(page, MIDDLE - 5 + number % 10)
        for further, place in enumerate((AORTA, NEARER_THE_EDGE)):
            page.mouse.click(*at(page, place))
            wait_answers(page, 2 * number + further + 1)
        page.get_by_role("button", name="Clear").click()
    ms = page.evaluate(CLICK_TO_OVERLAY)
    waited = page.evaluate(WAITED)
    for name, found in (
        ("first click of a segment", ms[::2]),
        ("further click", ms[1::2]),
        ("of these, question to answer", waited),
        ("a frame with nothing new on it", [page.evaluate(FRAME) for _ in range(3)]),
    ):
        print(f"{name}: median {statistics.median(found):.0f} ms, {min(found):.0f} to {max(found):.0f}")
    assert len(ms) == 2 * (slices or 2)
    if slices:
        assert statistics.median(waited) < 1000
        assert statistics.median(ms) < 1000
