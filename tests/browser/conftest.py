"""A real browser on the running product: Debian's Chromium with software GL, driven by Playwright."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from stack import RunningStack
from waiting import PATIENCE_S

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]
ARTEFACTS = Path(__file__).resolve().parent.parent.parent / "test-artefacts"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, once; skipped with a reason when it is not installed."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    expect.set_options(timeout=PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS, timeout=PATIENCE_S * 1000)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, stack: RunningStack) -> Iterator[Page]:
    """A page of a user who has logged in by the form."""
    if not (stack.settings.ohif / "index.html").exists():
        pytest.skip("the OHIF build is not prepared: scripts/prepare_ohif.py")
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_S * 1000)
    page = context.new_page()
    page.goto(stack.address + "/login")
    page.fill("input[name=user]", stack.settings.admin_user)
    page.fill("input[name=password]", stack.admin_password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(stack.address + "/")
    yield page
    context.close()


@pytest.fixture
def artefacts() -> Path:
    """Where screenshots are kept, to be looked at."""
    ARTEFACTS.mkdir(exist_ok=True)
    return ARTEFACTS
