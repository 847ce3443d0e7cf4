"""The extension's own tests, in Node: what needs no browser."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("file", sorted(p.name for p in HERE.glob("*.test.mjs")))
def test_the_extension(file: str) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    done = subprocess.run(["node", "--test", str(HERE / file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
