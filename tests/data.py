"""Real, freely licensed studies for tests: found through one setting, skipped with a reason when absent."""

import os
from pathlib import Path

import pytest

VARIABLE = "MINIPACS_TEST_DATA"


def shared_data(relative: str = "") -> Path:
    """A folder or file of the shared studies; skips the test when it is not on this machine."""
    root = os.environ.get(VARIABLE)
    path = Path(root, relative) if root else None
    if path is None or not path.exists():
        pytest.skip(f"real studies are absent: {VARIABLE} names no folder that holds {relative or 'them'}")
    return path
