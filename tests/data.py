"""Real, freely licensed studies for tests: found through one setting, skipped with a reason when absent."""

import os
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

VARIABLE = "MINIPACS_TEST_DATA"


def shared_data(relative: str = "") -> Path:
    """A folder or file of the shared studies; skips the test when it is not on this machine."""
    root = os.environ.get(VARIABLE)
    path = Path(root, relative) if root else None
    if path is None or not path.exists():
        pytest.skip(f"real studies are absent: {VARIABLE} names no folder that holds {relative or 'them'}")
    return path


def own_copy(folder: Path, into: Path) -> Path:
    """A study's files under UIDs of their own, so that what one test adds to it no other test finds."""
    new: dict[str, str] = {}
    for number, path in enumerate(sorted(folder.iterdir())):
        image = pydicom.dcmread(path)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"):
            uid = str(image[keyword].value)
            setattr(image, keyword, new.setdefault(uid, str(generate_uid())))
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.save_as(into / f"{number:04d}.dcm")
    return into
