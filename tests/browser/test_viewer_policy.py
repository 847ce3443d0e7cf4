"""OHIF works under the policy of /ohif/: study list, pictures, decoders in workers, segmentation, and no violation."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from minipacs.local.phantom import write_chest_ct
from stack import RunningStack
from viewer_page import HAS_REPRESENTATION, IS_DRAWN, open_study, show

pytestmark = pytest.mark.browser
NOTE_VIOLATIONS = """
window.violations = [];
document.addEventListener('securitypolicyviolation', event =>
  window.violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


def test_the_viewer_breaks_no_rule_of_its_policy(
    page: Page, stack: RunningStack, tmp_path: Path, artefacts: Path
) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.add_init_script(NOTE_VIOLATIONS)
    files = write_chest_ct(tmp_path, patient_id="UNDER-THE-POLICY")
    (study,) = stack.send(tmp_path)
    stack.wait_segmented(study)

    answer = page.goto(stack.address + "/ohif/")
    assert answer is not None
    assert "wasm-unsafe-eval" in answer.headers["content-security-policy"]
    page.get_by_text("UNDER-THE-POLICY").first.wait_for()
    list_violations = page.evaluate("window.violations")

    open_study(page, stack, study, len(files) // 2)
    page.wait_for_function(HAS_REPRESENTATION)
    show(page, len(files) // 2)
    page.wait_for_function(IS_DRAWN, arg=len(files) // 2)
    page.screenshot(path=artefacts / "viewer-policy.png")
    violations = list_violations + page.evaluate("window.violations")
    worker_violations = [text for text in said if "Content Security Policy" in text]
    assert (violations, worker_violations) == ([], [])
