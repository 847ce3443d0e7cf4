"""Writing files: for their owner alone, and whole or not at all."""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
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


def open_private(path: Path) -> IO[bytes]:
    """A new or emptied file that only its owner can read, open for writing; one that was open to others is closed."""
    stream = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY), "wb")
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):  # not /dev/stdout, or another device
        os.fchmod(stream.fileno(), OWNER_ONLY)
    return stream


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
            yield stream
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Hold the lock of this file, which is created where it is missing; other processes and threads wait."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, OWNER_ONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
