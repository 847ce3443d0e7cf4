"""The "Segment" panel: automatic engines are started and cancelled, and their results appear without a reload."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import Job
from minipacs.local.phantom import write_chest_ct
from stack import RunningStack
from viewer_page import HAS_SEGMENTATION, coloured, open_panel, open_study, show, viewport
from waiting import until

pytestmark = pytest.mark.browser


def without_result(stack: RunningStack, folder: Path) -> str:
    """A study whose automatic segmentation was cancelled as soon as it was there; its UID."""
    (study,) = stack.send(folder)

    def cancelled() -> bool:
        jobs: list[Job] = [job for job in stack.jobs(study) if job.kind == "segment"]
        for job in jobs:
            if job.state in ("queued", "running"):
                JobQueue(stack.database).cancel(job.id)
        return bool(jobs) and all(job.state == "cancelled" for job in jobs)

    until(cancelled, what="the end of the cancelled segmentation")
    assert stack.segs(study) == []
    return study


def test_an_engine_is_started_cancelled_and_its_result_appears(
    page: Page, stack: RunningStack, tmp_path: Path, artefacts: Path
) -> None:
    files = write_chest_ct(tmp_path, patient_id="APPEARS-BY-ITSELF")
    study = without_result(stack, tmp_path)
    middle = len(files) // 2
    open_study(page, stack, study, middle)
    open_panel(page)
    page.evaluate("window.stillTheSamePage = true")
    job = page.locator(".mp-job").first
    expect(job).to_have_attribute("data-state", "cancelled")

    page.get_by_role("button", name="Start").click()
    expect(job).to_have_attribute("data-state", "running")
    job.get_by_role("button", name="Cancel").click()
    expect(job).to_have_attribute("data-state", "cancelled")
    assert stack.segs(study) == []

    page.get_by_role("button", name="Start").click()
    expect(job.locator("progress")).to_be_visible()
    page.screenshot(path=artefacts / "segment-panel-running.png")
    assert coloured(viewport(page)) == 0
    page.wait_for_function(HAS_SEGMENTATION)
    expect(job).to_have_attribute("data-state", "done")
    show(page, middle)
    picture = viewport(page)
    page.screenshot(path=artefacts / "segment-panel-done.png")
    assert coloured(picture) > 0.1 * picture.shape[0] * picture.shape[1]
    assert page.evaluate("window.stillTheSamePage")
