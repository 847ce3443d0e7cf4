"""Writing files: for their owner alone, and whole or not at all.

What root creates in the home of another user (by `minipacs backup` of root's cron) is that user's, for the services
that run as that user must read and write it.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

OWNER_ONLY = 0o600
OTHERS = 0o077
"""The permission bits of everybody but the owner."""


def restrict_new_files() -> None:
    """Let this process create files as 0600 and folders as 0700.

    Called once, at the start of every command; all that a command starts (Orthanc, the workers of the pool and of
    the front door, engines) inherits it, whatever the umask of the shell.
    """
    os.umask(OTHERS)


@dataclass(frozen=True)
class HomeOwner:
    """A home, and the user and the group that its folder belongs to."""

    home: Path
    uid: int
    gid: int


_home_owner: HomeOwner | None = None


def keep_home_owner(home: Path) -> None:
    """Give what this process creates in this home to the home's owner; for root, where the home is another user's.

    Called once, at the start of every command.
    """
    global _home_owner
    _home_owner = None
    if os.geteuid() == 0 and home.is_dir():
        found = home.stat()
        if found.st_uid != 0:
            _home_owner = HomeOwner(home.resolve(), found.st_uid, found.st_gid)


def give_to_home_owner(descriptor: int) -> None:
    """Give an open file or folder that this process created to the owner of the home that it lies in.

    The owner, who may put links there, gets nothing else of root's: what lies elsewhere, or has a name elsewhere too,
    stays as it is.
    """
    if _home_owner is None:
        return
    status = os.fstat(descriptor)
    is_folder = stat.S_ISDIR(status.st_mode)
    is_one_file = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    if status.st_uid == 0 and (is_folder or is_one_file):
        place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if place.is_relative_to(_home_owner.home):
            os.fchown(descriptor, _home_owner.uid, _home_owner.gid)


def make_private_folder(path: Path) -> None:
    """Create a folder that only its owner can enter, and those above it that are missing; one that is there stays."""
    if path.is_dir():
        return
    make_private_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        give_to_home_owner(descriptor)
    finally:
        os.close(descriptor)


def open_private(path: Path) -> IO[bytes]:
    """A new or emptied file that only its owner can read, open for writing; one that was open to others is closed."""
    stream = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY), "wb")
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):  # not /dev/stdout, or another device
        os.fchmod(stream.fileno(), OWNER_ONLY)
    give_to_home_owner(stream.fileno())
    return stream


def create_for_home_owner(path: Path) -> None:
    """Create an empty file where `keep_home_owner` found another user's home and the file is missing in it."""
    if _home_owner is None or path.exists():
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        give_to_home_owner(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read."""
    with open_private(path) as stream:
        stream.write(content)


@contextmanager
def replace_private(path: Path) -> Iterator[IO[bytes]]:
    """Write a file beside its place, then put it there in one step: no reader ever sees half of it.

    When writing fails, the file that lay there stays.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            give_to_home_owner(descriptor)
            yield stream
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Hold the lock of this file, which is created where it is missing; other processes and threads wait."""
    make_private_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, OWNER_ONLY)
    try:
        give_to_home_owner(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
