"""A person with a real browser: upload, watch the work, look in three dimensions, take results away by phone."""

import base64
import io
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minipacs.demo import write_chest_ct
from stack import RunningStack

pytestmark = [pytest.mark.browser, pytest.mark.integration]
SWIFTSHADER = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture
def page(stack: RunningStack) -> Iterator[Any]:
    """A page of Debian's Chromium, logged in; what its console complains of fails the test."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("Chromium is not installed")
    complaints: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=SWIFTSHADER)
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(stack.address + "/upload")
        page.fill("[name=user]", "admin")
        page.fill("[name=password]", stack.admin_password)
        page.click("button:has-text('Log in')")
        yield page
        browser.close()
    assert not complaints


def test_a_zip_is_uploaded_worked_on_looked_at_and_taken_away(stack: RunningStack, page: Any, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    if not (Path(__file__).parents[2] / "node_modules" / "three").is_dir():
        pytest.skip("three.js is not installed: run npm ci")
    packed = tmp_path / "ct.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in write_chest_ct(tmp_path / "ct", patient_id="BROWSER-1", slices=24):
            archive.write(path, f"study/{path.name}")
    page.set_input_files("#files", packed)
    page.click("#send")
    page.wait_for_selector("#verdicts p")
    assert "24 stored, 0 refused" in page.inner_text("#verdicts p")
    link = page.get_attribute("#verdicts p a", "href")
    study = link.partition("study=")[2]
    stack.wait_segmented(study)
    page.goto(stack.address + link)
    page.wait_for_selector(".badge.done[data-field=state]")
    page.goto(f"{stack.address}/studies/{study}")
    assert "Right lung" in page.inner_text("table")
    page.click("text=3-D view")
    page.wait_for_selector("#stage[data-ready]", timeout=60_000)
    assert page.locator("#switches input[type=checkbox]").count() >= 2
    page.goto(stack.address + "/files")
    page.locator(f"input[value^='{study}'][value$='model.glb']").check()
    page.locator(f"input[value^='{study}'][value$='labels.json']").check()
    page.click("button:has-text('Share as ZIP')")
    picture = base64.b64decode(page.get_attribute("#qr", "src").partition(",")[2])
    file = tmp_path / "qr.png"
    file.write_bytes(picture)
    url, _, _ = cv2.QRCodeDetector().detectAndDecode(cv2.imread(str(file)))
    assert url == page.inner_text("#link")
    assert "127.0" not in url
    with urllib.request.urlopen(stack.address + "/shared/" + url.partition("/shared/")[2], timeout=30) as answer:
        names = zipfile.ZipFile(io.BytesIO(answer.read())).namelist()
    assert sorted(name.rpartition("/")[2] for name in names) == ["labels.json", "model.glb"]
