"""How much memory this machine has; within a container, how much the container may take (Linux cgroups 1 and 2)."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import psutil

__all__ = ["read_available_bytes", "read_memory_bytes"]

CGROUP_FOLDERS = {"memory": "memory", "": "."}
"""Folder of a hierarchy below the mount, by the controller it has: version 1, and version 2, which names none."""
CGROUP_MOUNT = Path("/sys/fs/cgroup")
LIMIT_FILES = ("memory.max", "memory.limit_in_bytes")
USAGE_FILES = ("memory.current", "memory.usage_in_bytes")
RECLAIMABLE = ("inactive_file", "total_inactive_file")
"""Entries of `memory.stat` that count as free: pages of files that were read once."""


@lru_cache(maxsize=1)
def read_memory_bytes() -> int:
    """Bytes of memory this process can count on: of the machine, or of the narrowest container around it."""
    limits = [limit for folder in _find_cgroup_folders() if (limit := _read_number(folder, LIMIT_FILES)) is not None]
    return min([psutil.virtual_memory().total, *limits])


def read_available_bytes() -> int:
    """Bytes that are free now, those of files that can be read again among them."""
    available = [int(psutil.virtual_memory().available)]
    for folder in _find_cgroup_folders():
        limit, usage = _read_number(folder, LIMIT_FILES), _read_number(folder, USAGE_FILES)
        if limit is not None and usage is not None:
            available.append(limit - usage + _read_reclaimable_bytes(folder))
    return max(0, min(available))


@lru_cache(maxsize=1)
def _find_cgroup_folders() -> tuple[Path, ...]:
    """The cgroup folders that limit this process: its own, and those above it."""
    return tuple(_iterate_cgroup_folders())


def _iterate_cgroup_folders() -> Iterator[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return

    for line in lines:
        _number, controllers, path = line.split(":", 2)
        name = next((name for name in controllers.split(",") if name in CGROUP_FOLDERS), None)
        if name is None:
            continue
        root = CGROUP_MOUNT / CGROUP_FOLDERS[name]
        own = Path(path.lstrip("/"))
        for folder in (own, *own.parents):
            yield root / folder


def _read_number(folder: Path, names: tuple[str, ...]) -> int | None:
    """The number in the first of these files that is there; None for `max`, which is no limit."""
    for name in names:
        try:
            text = (folder / name).read_text("ascii").strip()
        except OSError:
            continue
        return int(text) if text.isdigit() else None
    return None


def _read_reclaimable_bytes(folder: Path) -> int:
    try:
        pairs = [line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines()]
    except OSError:
        return 0
    return max((int(value) for key, value in pairs if key in RECLAIMABLE), default=0)
