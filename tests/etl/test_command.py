"""`minipacs etl FOLDER`: a summary for people, JSON for scripts, an exit code for both."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_objects import as_file, image
from minipacs.cli import main

PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7)


@pytest.fixture
def folder(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images and a note."""
    monkeypatch.setenv("MINIPACS_HOME", str(tmp_path / "home"))
    for number in (1, 2):
        (source / f"{number}").write_bytes(as_file(image(PIXELS, number, WindowCenter=[10, 20], WindowWidth=[5, 6])))
    (source / "notes.txt").write_text("no DICOM")
    return source


def test_the_summary_is_a_sentence(folder: Path, capsys: Any) -> None:
    assert main(["etl", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 added, 0 unchanged, 2 pictures, 1 rejected (1 not_dicom).")
    assert "table rejection" in out


def test_scripts_get_json_and_an_exit_code(folder: Path, capsys: Any, tmp_path: Path) -> None:
    target = str(tmp_path / "elsewhere")
    assert main(["etl", str(folder), "--json", "--strict", "--window", "all", "--target", target]) == 3
    result = json.loads(capsys.readouterr().out)
    assert (result["added"], result["rendered"], result["rejected"], result["reasons"]) == (2, 4, 1, {"not_dicom": 1})
    assert len(list(Path(target).rglob("*.png"))) == 4
    (folder / "notes.txt").unlink()
    (folder / "2").unlink()
    arguments = ["etl", str(folder), "--json", "--strict", "--window", "all", "--target", target, "--prune"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/no/such/folder"], "There is no folder"),
        ([".", "--split", "1,2"], "three parts"),
        ([".", "--window", "40/0"], "Window Width must be"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments: list[str], message: str, folder: Path, capsys: Any) -> None:
    assert main(["etl", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
