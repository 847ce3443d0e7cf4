"""A person with a real browser: upload, watch the work, look at it in every way, take results away by phone."""

import base64
import io
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import update

from api.results.shares import Share
from minipacs.local.phantom import write_chest_ct
from stack import RunningStack
from viewer_page import open_study
from waiting import PATIENCE_S

pytestmark = [pytest.mark.browser, pytest.mark.integration]
SLICES = 24
LONG_ID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.298806137288633453246975630178"
"""64 characters without a place to break: as long as VR LO allows, and as archives for research have them."""
PAGES = (
    "/studies",
    f"/where?q={LONG_ID}",
    "/upload",
    "/jobs",
    "/jobs?kind=catalogue",
    "/files",
    "/engines",
    "/rules",
    "/docs",
)
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def complaints(page: Page) -> Iterator[list[str]]:
    """What the page's console complains of; anything at all fails the test."""
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    yield heard
    assert not heard


@pytest.fixture(scope="module")
def long_names(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A study whose names are as long as may be, the newest of the list."""
    folder = tmp_path_factory.mktemp("long")
    for path in write_chest_ct(folder, patient_id=LONG_ID, slices=1):
        image = pydicom.dcmread(path)
        image.PatientName, image.StudyDescription, image.StudyDate = "W" * 64, "M" * 64, "20991231"
        image.save_as(path)
    (study,) = stack.send(folder)
    stack.wait_jobs(study, "catalogue")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT as a ZIP."""
    folder = tmp_path_factory.mktemp("ct")
    with zipfile.ZipFile(folder / "ct.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in write_chest_ct(folder / "ct", patient_id="BROWSER-1", slices=SLICES):
            archive.write(path, f"study/{path.name}")
    return folder / "ct.zip"


def uploaded(page: Page, stack: RunningStack, packed: Path) -> str:
    """Send the ZIP by the page and watch until all work is done; its Study Instance UID."""
    page.goto(stack.address + "/upload")
    page.set_input_files("#files", packed)
    page.click("#send")
    page.wait_for_selector("#verdicts p")
    assert f"{SLICES} stored, 0 refused" in page.inner_text("#verdicts p")
    link = str(page.get_attribute("#verdicts p a", "href"))
    study = link.partition("study=")[2]
    page.goto(f"{stack.address}/where?q={study}")
    assert page.locator(".steps li").count() >= 1
    stack.wait_segmented(study)
    page.goto(stack.address + link)
    page.wait_for_selector(".badge.done[data-field=state]")
    return study


def fetched(url: str) -> bytes:
    """What a phone gets: no cookie, no token."""
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return bytes(answer.read())


def shared(page: Page, stack: RunningStack, study: str, tmp_path: Path) -> str:
    """Pick two files, share them, read the QR picture; the link, at an address this machine reaches."""
    cv2: Any = pytest.importorskip("cv2")
    page.goto(stack.address + "/files")
    page.locator(f"input[value^='{study}'][value$='model.glb']").check()
    page.locator(f"input[value^='{study}'][value$='labels.json']").check()
    page.click("button:has-text('Share as ZIP')")
    file = tmp_path / "qr.png"
    file.write_bytes(base64.b64decode(str(page.get_attribute("#qr", "src")).partition(",")[2]))
    url, _, _ = cv2.QRCodeDetectorAruco().detectAndDecode(cv2.imread(str(file)))
    assert url == page.inner_text("#link")
    assert "127." not in url.partition("/shared/")[0]
    return stack.address + "/shared/" + str(url).partition("/shared/")[2]


def test_a_zip_is_uploaded_worked_on_looked_at_and_taken_away(
    page: Page, stack: RunningStack, packed: Path, complaints: list[str], tmp_path: Path, artefacts: Path
) -> None:
    study = uploaded(page, stack, packed)
    page.goto(f"{stack.address}/studies/{study}")
    assert "Right lung" in page.inner_text("table")
    page.screenshot(path=artefacts / "front-study.png", full_page=True)
    page.click("text=3-D view")
    page.wait_for_selector("#stage[data-ready]")
    assert page.locator("#segments input[type=checkbox]").count() >= 2
    page.screenshot(path=artefacts / "front-3d.png")
    page.goto(f"{stack.address}/studies/{study}")
    page.click("text=Overlay")
    page.wait_for_selector("#slices[data-ready='2']")
    assert page.input_value("#view") == "3"
    page.keyboard.press("Tab")
    page.screenshot(path=artefacts / "front-overlay.png")
    link = shared(page, stack, study, tmp_path)
    names = zipfile.ZipFile(io.BytesIO(fetched(link))).namelist()
    assert sorted(name.rpartition("/")[2] for name in names) == ["labels.json", "model.glb"]
    with stack.database.writing() as session:
        session.execute(update(Share).values(ends=1.0))  # its time is over
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetched(link)
    refused.value.close()
    assert refused.value.code == 410
    assert not complaints  # the viewer's own console is its own business
    complaints.clear()
    open_study(page, stack, study, SLICES // 2)
    complaints.clear()


def test_labels_are_shown_without_their_images(page: Page, stack: RunningStack, tmp_path: Path) -> None:
    write_chest_ct(tmp_path, patient_id="WITHOUT-IMAGES", slices=SLICES)
    (study,) = stack.send(tmp_path)
    stack.wait_segmented(study)
    page.route("**/source.nii.gz", lambda route: route.fulfill(status=503, json={"error": "away"}))
    page.goto(f"{stack.address}/studies/{study}")
    page.click("text=Overlay")
    page.wait_for_selector("#slices[data-ready='1']")
    assert page.inner_text("#status") == "The images cannot be shown under the labels."


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (390, "light"), (1280, "dark")])
@pytest.mark.usefixtures("long_names")
def test_every_page_fits_a_phone_and_both_lights(
    browser: Browser, page: Page, stack: RunningStack, width: int, scheme: Any, artefacts: Path
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, storage_state=page.context.storage_state()
    )
    context.set_default_timeout(PATIENCE_S * 1000)
    small = context.new_page()
    for path in PAGES:
        small.goto(stack.address + path)
        name = path.strip("/").partition("?")[0]
        small.screenshot(path=artefacts / f"front-{name}-{width}-{scheme}.png", full_page=True)
        assert small.evaluate(WIDER) <= 0, path
        small.keyboard.press("Tab")
        assert small.evaluate("() => document.activeElement !== document.body"), path
    context.close()
