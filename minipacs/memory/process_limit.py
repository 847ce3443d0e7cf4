"""A limit on the memory of a process, which holds without root: RLIMIT_DATA (Linux setrlimit(2)).

It counts memory that is written to and private, not reserved addresses as RLIMIT_AS does, which torch and VTK reserve
by the gigabyte. Who passes it gets a `MemoryError`, which ends one job with a sentence; without it the kernel
would end some process, mostly another one.
"""

import os
import re
import resource
from pathlib import Path

from minipacs.errors import ExceedsMemory
from minipacs.memory.machine_memory import read_memory_bytes
from minipacs.memory.size_limits import (
    FRAME_SETTING,
    OBJECT_SETTING,
    RENDER_SETTING,
    VOLUME_SETTING,
    derive_size_limits,
)
from minipacs.settings import Settings

__all__ = [
    "compute_archive_bytes",
    "compute_engine_bytes",
    "compute_limits",
    "compute_service_bytes",
    "compute_worker_bytes",
    "explain_memory_error",
    "lift_memory_limit",
    "limit_memory",
    "limit_own_memory",
]

MB = 2**20
WORKER_SETTING = "MINIPACS_WORKER_MEMORY_MB"
WORK_SHARE = 0.75
"""Of all memory: the product's; the rest is the system's, and of files that are read."""
SERVICES_BYTES = 1024 * MB
"""Of the product's memory: what the archive and the services take that only wait."""
MIN_BYTES = 512 * MB
"""No process has a lower limit."""
ARCHIVE_BASE_BYTES = 640 * MB
"""What Orthanc takes without an object at work: itself, and its storage cache (`orthanc.json`)."""
COPIES_IN_ARCHIVE = 3
"""How many times an object that is received is in Orthanc's memory."""
MAX_ARCHIVE_SHARE, MIN_ARCHIVE_BYTES = 0.375, 1024 * MB
"""Of all memory: the most Orthanc may take, which is what two workers leave of the product's; and at least so much."""
STACK_BYTES_PER_CORE = 16 * MB
"""Libraries start threads by the number of cores; their stacks count, and are hardly used."""


def compute_work_bytes() -> int:
    """Memory for all jobs at once, that fits this machine."""
    return max(MIN_BYTES, int(read_memory_bytes() * WORK_SHARE) - SERVICES_BYTES)


def compute_worker_bytes(settings: Settings) -> int:
    """Memory one worker may take: the setting's, else its share of what all workers have."""
    if settings.worker_memory_mb:
        return settings.worker_memory_mb * MB
    return max(MIN_BYTES, compute_work_bytes() // max(1, settings.workers + settings.gpus))


def compute_engine_bytes(settings: Settings) -> int:
    """Memory one process of a segmentation may take: the setting's, else what all jobs have, if it is the only one.

    The child limits itself by it, and its parent watches by it all that the child has started.
    """
    return max(MIN_BYTES, settings.engine_memory_mb * MB or compute_work_bytes())


def compute_service_bytes(settings: Settings, *, kept: int = 0) -> int:
    """Memory a service may take that answers requests: as much as a worker, beside what it keeps on purpose."""
    return compute_worker_bytes(settings) + kept


def compute_archive_bytes(settings: Settings) -> int:
    """Memory that Orthanc may take: the setting's, else what the largest object needs, if the machine can spare it."""
    if settings.archive_memory_mb:
        return settings.archive_memory_mb * MB
    needed = ARCHIVE_BASE_BYTES + COPIES_IN_ARCHIVE * derive_size_limits(settings).object_bytes
    return max(MIN_ARCHIVE_BYTES, min(needed, int(read_memory_bytes() * MAX_ARCHIVE_SHARE)))


def compute_limits(settings: Settings) -> dict[str, int]:
    """What objects and workers may take today, in bytes or seconds, by the setting that has the limit."""
    sizes = derive_size_limits(settings)
    return {
        OBJECT_SETTING: sizes.object_bytes,
        FRAME_SETTING: sizes.frame_bytes,
        VOLUME_SETTING: sizes.volume_bytes,
        WORKER_SETTING: compute_worker_bytes(settings),
        RENDER_SETTING: sizes.render_s,
    }


_own_budget = [0]
"""What this process may take beside what it had at its start; 0 where it has no limit."""


def limit_own_memory(budget: int) -> None:
    """Let this process, and each that it starts, take `budget` bytes beside what it has now."""
    _own_budget[:] = [budget]
    limit_memory(_read_data_bytes() + (os.cpu_count() or 1) * STACK_BYTES_PER_CORE + budget)


def limit_memory(limit: int) -> None:
    """Let this process, and each that it starts, take `limit` bytes; one that is started may set another limit."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def lift_memory_limit() -> None:
    """Let this process take what there is: a program of others', which is watched from outside."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def explain_memory_error(setting: str = WORKER_SETTING) -> ExceedsMemory:
    """The error that says in place of a `MemoryError` what happened, and which setting has the limit."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = "the machine has" if soft == resource.RLIM_INFINITY else f"the {soft // MB} MB one process may take"
    return ExceedsMemory(
        f"The work needs more memory than {limit}.",
        f"Give the machine more memory, set fewer MINIPACS_WORKERS, or raise {setting}.",
        setting=setting,
        limit_value=_own_budget[0],
    )


def _read_data_bytes() -> int:
    """What counts against RLIMIT_DATA now."""
    found = re.search(r"^VmData:\s+(\d+) kB$", Path("/proc/self/status").read_text("ascii", "replace"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
