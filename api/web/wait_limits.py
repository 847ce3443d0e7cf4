"""How many requests may wait for something that is not their client: another server, a slow computation.

Each holds a thread of the front door meanwhile. Whatever hangs, half of the threads answer everybody else.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from minipacs.errors import FrontDoorBusy

SHARE_OF_ALL = 2
"""One thread in so many may wait for anything."""
SHARE_OF_EACH = 4
"""One thread in so many may wait for the same thing."""
BRIEF_WAIT_S = 2.0
"""Of those who ask the archive beyond that share."""


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


class ArchiveWaits:
    """The requests of one process that wait for the archive's answer. Shared by its threads.

    An archive that answers may be asked by all threads at once. For one that does not, a share of them waits long and
    another share briefly, which finds out when it answers again; all others are refused at once. Who waits for a head
    and who waits for more of a body have the same shares, but one that comes says nothing of the other.
    """

    def __init__(self, threads: int) -> None:
        self._share = max(1, threads // SHARE_OF_EACH)
        self._waiting_long = self._waiting_briefly = 0
        self._head_came_at = self._body_came_at = -float("inf")
        self._lock = threading.Lock()

    @contextmanager
    def wait(self, longest_s: float) -> Iterator[float]:
        """Ask the archive in this block, and wait as many seconds as this yields; an exception is no answer.

        Raises `FrontDoorBusy` where it answers nobody and enough wait for it.
        """
        with self._take_place(longest_s, self._head_came_at) as timeout_s:
            yield timeout_s
            self._head_came_at = time.monotonic()

    @contextmanager
    def wait_for_body(self, longest_s: float) -> Iterator[float]:
        """The same for the next piece of an answer whose head has come."""
        with self._take_place(longest_s, self._body_came_at) as timeout_s:
            yield timeout_s
            self._body_came_at = time.monotonic()

    @contextmanager
    def _take_place(self, longest_s: float, came_at: float) -> Iterator[float]:
        with self._lock:
            is_long = self._waiting_long < self._share
            if is_long:
                self._waiting_long += 1
            elif self._waiting_briefly < self._share or time.monotonic() - came_at < BRIEF_WAIT_S:
                self._waiting_briefly += 1
            else:
                raise FrontDoorBusy("The archive does not answer; too many requests wait for it.", "Try again later.")
        try:
            yield longest_s if is_long else min(longest_s, BRIEF_WAIT_S)
        finally:
            with self._lock:
                if is_long:
                    self._waiting_long -= 1
                else:
                    self._waiting_briefly -= 1
