"""How many requests may wait for something that is not their client: another server, a slow computation.

Each holds a thread of the front door meanwhile. Whatever hangs, half of the threads answer everybody else.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from minipacs.errors import FrontDoorBusy

SHARE_OF_ALL = 2
"""One thread in so many may wait for anything."""
SHARE_OF_EACH = 4
"""One thread in so many may wait for the same thing."""


class WaitLimits:
    """The requests of one process that wait. Shared by its threads."""

    def __init__(self, threads: int) -> None:
        self._most_of_all = max(1, threads // SHARE_OF_ALL)
        self._most_of_each = max(1, threads // SHARE_OF_EACH)
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def wait_for(self, thing: str) -> Iterator[None]:
        """Wait, in this block, for a thing of this name. Raises `FrontDoorBusy` where too many do already."""
        with self._lock:
            if self._waiting[thing] >= self._most_of_each or self._waiting.total() >= self._most_of_all:
                raise FrontDoorBusy(f"Too many requests wait for {thing}.", "Try again in a few seconds.")
            self._waiting[thing] += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting[thing] -= 1
