"""What a killed process leaves is removed by the next one, and only that."""

import subprocess
import sys
from pathlib import Path

import pytest

from minipacs.temporary_folders import delete_abandoned_folders, temporary_folder
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


def test_folders_of_killed_processes_are_deleted_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORKS_FOR_EVER, str(tmp_path), str(FOREVER_S)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        try:
            delete_abandoned_folders(tmp_path)
            assert (folder / "half").is_file()
        finally:
            other.kill()
        other.wait()
    assert folder.exists()
    with temporary_folder(tmp_path) as ours:
        assert not folder.exists()
        assert ours.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_another_process_deletes_before_it_is_locked_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    real, calls = fcntl.flock, []

    def delete_before_locking(descriptor: int, operation: int) -> None:
        if not calls:
            next(tmp_path.glob("*.lock")).unlink()
        calls.append(operation)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", delete_before_locking)
    with temporary_folder(tmp_path) as folder:
        assert folder.with_name(folder.name + ".lock").exists()
    assert len(calls) == 2
