"""Text of a foreign object is shown as text: no page and not the viewer run what a sender wrote into a name."""

from pathlib import Path

import pydicom
import pytest
from playwright.sync_api import Page
from pydicom import config
from pydicom.uid import generate_uid

from dicom_objects import as_file
from minipacs.local.phantom import write_chest_ct
from security.objects.hostile_objects import write_text_everywhere
from stack import RunningStack
from viewer_page import open_study

pytestmark = [pytest.mark.browser, pytest.mark.integration]
TEXT = "<img src=x onerror=alert(1)><script>alert(2)</script>'\"><svg onload=alert(3)>{{7*7}}"


def test_no_script_of_a_name_runs(page: Page, stack: RunningStack, tmp_path: Path) -> None:
    study, series = generate_uid(), generate_uid()
    for path in write_chest_ct(tmp_path / "ct", slices=3):
        with config.disable_value_validation():
            dataset = write_text_everywhere(pydicom.dcmread(path), TEXT)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
            dataset.SOPInstanceUID = generate_uid()
            dataset.StudyDate = "19900102"
            path.write_bytes(as_file(dataset))
    stack.send(tmp_path / "ct")
    stack.wait_jobs(study, "catalogue")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))

    for address in ("/studies", f"/studies/{study}", f"/where?q={study}", "/jobs", "/files", "/ohif/"):
        page.goto(stack.address + address)
        page.wait_for_load_state("networkidle")
        assert page.locator("img[src=x]").count() == 0
    open_study(page, stack, study, 1)

    assert not dialogs
    assert page.locator("img[src=x]").count() == 0
