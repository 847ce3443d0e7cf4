"""What a killed process leaves is removed by the next one, and only that."""

import subprocess
import sys
from pathlib import Path

import pytest

from minipacs.temporary_folders import sweep, temporary_folder
from waiting import FOREVER_S

WORKS_FOR_EVER = """
import sys, time
from pathlib import Path
from minipacs.temporary_folders import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("done")
    print(folder, flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_folder_is_gone_at_the_end_whatever_happened(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "root") as folder:
        (folder / "half").write_text("done")
    with pytest.raises(ValueError, match="broke"), temporary_folder(tmp_path / "root"):
        raise ValueError("broke")
    assert list((tmp_path / "root").iterdir()) == []


def test_what_the_dead_leave_is_swept_and_what_the_living_use_is_not(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORKS_FOR_EVER, str(tmp_path), str(FOREVER_S)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        try:
            sweep(tmp_path)
            assert (folder / "half").is_file()
        finally:
            other.kill()
        other.wait()
    assert folder.exists()
    with temporary_folder(tmp_path) as ours:
        assert not folder.exists()
        assert ours.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_taken_by_a_sweeper_in_the_moment_of_its_making_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    real, calls = fcntl.flock, []

    def swept_before(held: int, operation: int) -> None:
        if not calls:
            next(tmp_path.glob("*.lock")).unlink()
        calls.append(operation)
        real(held, operation)

    monkeypatch.setattr(fcntl, "flock", swept_before)
    with temporary_folder(tmp_path) as folder:
        assert folder.with_name(folder.name + ".lock").exists()
    assert len(calls) == 2
