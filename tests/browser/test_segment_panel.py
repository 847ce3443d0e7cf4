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
TRIES = 5


def send_study_without_result(stack: RunningStack, folder: Path) -> tuple[str, int]:
    """The UID of a study whose automatic segmentation was cancelled in time, and how many slices it has.

    A worker may be done before the cancellation reaches it, on a busy machine: then another study is tried.
    """
    for number in range(TRIES):
        files = write_chest_ct(folder / str(number), patient_id=f"APPEARS-BY-ITSELF-{number}")
        (study,) = stack.send(folder / str(number))
        states = cancel_segmentation(stack, study)
        assert states <= {"cancelled", "done"}
        if states == {"cancelled"}:
            assert stack.segs(study) == []
            return study, len(files)
    raise AssertionError(f"{TRIES} segmentations were done before they were cancelled")


def cancel_segmentation(stack: RunningStack, study: str) -> set[str]:
    """Cancel the study's segmentation as soon as it is queued; the states in which its jobs ended."""

    def list_end_states() -> set[str]:
        jobs: list[Job] = [job for job in stack.jobs(study) if job.kind == "segment"]
        is_open = [job for job in jobs if job.state in ("queued", "running")]
        for job in is_open:
            JobQueue(stack.database).cancel(job.id)
        return set() if is_open else {job.state for job in jobs}

    return set(until(list_end_states, what="the end of the cancelled segmentation"))


def test_an_engine_is_started_cancelled_and_its_result_appears(
    page: Page, stack: RunningStack, tmp_path: Path, artefacts: Path
) -> None:
    study, slices = send_study_without_result(stack, tmp_path)
    middle = slices // 2
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
