"""Rules are checked before they are kept; engines say why they are away; a SEG comes in both forms."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from minipacs.settings import Settings

STUDY, SERIES = "1.2.3.4.1", "1.2.3.4.1.1"
HTML = {"Accept": "text/html"}
GOOD = '[[rule]]\nmodality = "CT"\nengine = "slicer"\n'
SEG = f"/results/{STUDY}/{SERIES}/slicer/seg.dcm"


def test_good_rules_are_kept_and_shown(admin: Any, settings: Settings) -> None:
    assert admin("/rules").get_json() == {"rules": "", "default_engine": "slicer"}
    assert admin("/rules", method="POST", data={"rules": GOOD.replace("\n", "\r\n")}).status_code == 200
    assert (settings.home / "segmentation.toml").read_text() == GOOD
    assert "[[rule]]" in admin("/rules", headers=HTML).get_data(as_text=True)


BAD = [
    "[[rule]",
    'nonsense = "x"',
    '[[rule]]\nmodality = "CT"',
    '[[rule]]\nengine = "a"\ndescription = "("',
    "rule = [1]",
]


@pytest.mark.parametrize("bad", BAD)
def test_bad_rules_are_refused_with_the_reason_and_the_old_ones_stay(admin: Any, settings: Settings, bad: str) -> None:
    admin("/rules", method="POST", data={"rules": GOOD})
    answer = admin("/rules", method="POST", data={"rules": bad})
    assert answer.status_code == 400
    assert "segmentation.toml" in answer.get_json()["error"]["message"]
    page = admin("/rules", method="POST", data={"rules": bad}, headers=HTML)
    assert page.status_code == 400
    assert "still in force" in page.get_data(as_text=True)
    assert (settings.home / "segmentation.toml").read_text() == GOOD


def test_only_administrators_see_the_rules(operator: Any) -> None:
    assert operator("/rules").status_code == 403
    assert operator("/rules", method="POST", data={"rules": GOOD}).status_code == 403


def test_the_page_of_engines_says_what_is_there(viewer: Any) -> None:
    page = viewer("/engines", headers=HTML).get_data(as_text=True)
    assert "slicer" in page
    assert "available" in page


def test_a_seg_is_converted_by_a_process_of_the_segmentation(
    viewer: Any, app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = settings.output / "results" / STUDY / SERIES / "slicer"
    (folder / "seg.dcm").write_bytes(b"as it is")
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        (Path(command[-2]) / "seg-labelmap.dcm").write_bytes(b"the other form")
        return subprocess.CompletedProcess(command, 0, f"{command[-2]}/seg-labelmap.dcm\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert viewer(SEG).data == b"as it is"
    assert viewer(f"{SEG}?type=LABELMAP").data == b"the other form"
    assert asked[0][1:] == ["-m", "segmentation.results.convert_seg", str(folder), "LABELMAP"]


@pytest.mark.parametrize("query", ["type=OTHER", "type=binary"])
def test_a_type_that_is_none_is_refused(viewer: Any, query: str) -> None:
    assert viewer(f"{SEG}?{query}").status_code == 400
    assert viewer(SEG.replace("seg.dcm", "model.glb") + "?type=BINARY").status_code == 400


def test_what_cannot_be_converted_is_422(viewer: Any, settings: Settings) -> None:
    (settings.output / "results" / STUDY / SERIES / "slicer" / "seg.dcm").write_bytes(b"no DICOM")
    assert viewer(f"{SEG}?type=BINARY").status_code == 422
