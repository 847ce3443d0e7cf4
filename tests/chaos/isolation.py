"""A network and a disk of the run's own (as root), and their faults: the network is cut, the disk is full."""

import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.fault_injector import Fault

CLONE_NEWNET = 0x40000000
FREE_BYTES = 4096
"""Bytes that a full disk has free."""


def can_isolate() -> bool:
    """Whether this process may make network namespaces and mounts."""
    if os.geteuid() != 0:
        return False
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "mount", "-t", "tmpfs", "chaos", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


@contextmanager
def isolated_network() -> Iterator[None]:
    """Move this thread, and what it starts, into a network of its own, which has a loopback device alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "no network namespace")
        try:
            _set_loopback("up")
            yield
        finally:
            libc.setns(before.fileno(), CLONE_NEWNET)


def network_cut_fault(seconds: float) -> Fault:
    """A fault: for `seconds` every packet between the parts is lost."""

    def inject() -> bool:
        _set_loopback("down")
        time.sleep(seconds)
        _set_loopback("up")
        return True

    return inject


def _set_loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True, capture_output=True)


@contextmanager
def isolated_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a disk of this size at `folder`; unmount it at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk_fault(disk: Path, seconds: float) -> Fault:
    """A fault: for `seconds` the disk is full, as if another program had written a large file."""

    def inject() -> bool:
        ballast = disk / "ballast"
        disk_space = os.statvfs(disk)
        try:
            with ballast.open("wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, max(disk_space.f_bavail * disk_space.f_frsize - FREE_BYTES, 1))
        except OSError:  # the product wrote meanwhile: there is no room for the file
            ballast.unlink(missing_ok=True)
            return False
        threading.Timer(seconds, ballast.unlink, kwargs={"missing_ok": True}).start()
        return True

    return inject
