"""A machine of the harness' own: a network that can be cut, a disk that can be full (as root)."""

import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.killer import Blow

CLONE_NEWNET = 0x40000000
KEEP_B = 4096
"""Bytes a full disk leaves."""


def is_ours() -> bool:
    """Whether this process may make network namespaces and mounts."""
    if os.geteuid() != 0:
        return False
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "mount", "-t", "tmpfs", "chaos", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


@contextmanager
def own_network() -> Iterator[None]:
    """This thread, and all that it starts, in a network of its own: a loopback device and nothing else."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "no network namespace")
        try:
            _loopback("up")
            yield
        finally:
            libc.setns(before.fileno(), CLONE_NEWNET)


def cut_network(seconds: float) -> Blow:
    """Every packet between the parts is lost for so long."""

    def blow() -> bool:
        _loopback("down")
        time.sleep(seconds)
        _loopback("up")
        return True

    return blow


def _loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True, capture_output=True)


@contextmanager
def own_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of this size at `folder`, gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_disk(disk: Path, seconds: float) -> Blow:
    """The disk is full for so long: another program wrote a large file."""

    def blow() -> bool:
        ballast = disk / "ballast"
        room = os.statvfs(disk)
        try:
            with ballast.open("wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, max(room.f_bavail * room.f_frsize - KEEP_B, 1))
        except OSError:  # somebody wrote meanwhile: it is full enough
            ballast.unlink(missing_ok=True)
            return False
        threading.Timer(seconds, ballast.unlink, kwargs={"missing_ok": True}).start()
        return True

    return blow
