"""A limit on the memory of this process, which holds without root: RLIMIT_DATA (Linux setrlimit(2)).

It counts memory that is written to and private, not reserved addresses as RLIMIT_AS does, which torch and VTK reserve
by the gigabyte. Who passes it gets a `MemoryError`, which ends one job with a sentence; without it the kernel
would end some process, mostly another one.
"""

import resource

from minipacs.errors import ExceedsMemory

__all__ = ["explain_memory_error"]

MB = 2**20


def explain_memory_error() -> ExceedsMemory:
    """The error that says in place of a `MemoryError` what happened, and what to do."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = "the machine has" if soft == resource.RLIM_INFINITY else f"the {soft // MB} MB one process may take"
    return ExceedsMemory(
        f"The work needs more memory than {limit}.",
        "Give the machine more memory, or set fewer MINIPACS_WORKERS.",
    )
