"""Temporary folders for unfinished work. What a killed process leaves behind, the next one removes.

Each folder has a lock file beside it, which its process holds (flock) as long as it lives: a folder whose
lock is free belongs to no living process.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

PREFIX = ".partial-"
LOCK = ".lock"


@contextmanager
def temporary_folder(root: Path) -> Iterator[Path]:
    """A new folder below `root`, removed at the end. Folders of processes that have ended are removed first."""
    root.mkdir(parents=True, exist_ok=True)
    delete_abandoned_folders(root)
    folder = root / f"{PREFIX}{uuid4().hex}"
    lock = folder.with_name(folder.name + LOCK)
    descriptor = _create_locked_file(lock)
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def delete_abandoned_folders(root: Path) -> None:
    """Remove the folders below `root` whose process has ended."""
    for lock in root.glob(f"{PREFIX}*{LOCK}"):
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except FileNotFoundError:  # its owner, or another process that cleans up, was faster
            continue
        except PermissionError:  # another user's, who removes it
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            folder = lock.with_name(lock.name.removesuffix(LOCK))
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _create_locked_file(lock: Path) -> int:
    """Create a lock file and lock it; the open file. If another process deleted it before it was locked: once more."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if lock.exists():  # nobody else creates this name
            return descriptor
        os.close(descriptor)
