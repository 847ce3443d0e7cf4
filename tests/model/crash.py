"""Crashes in this process, at the n-th effect on the outside: a commit, a file moved or removed, an object stored.

After the crash no further effect takes place until the product was opened anew: whatever `finally` and `with` would do
on the way out, as a killed process does not, is left undone.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, event

from minipacs.archive.client import Archive

FILE_EFFECTS = ("rename", "replace", "unlink", "remove", "rmdir")
ARCHIVE_EFFECTS = ("store_file", "delete_series")


class Crash(BaseException):
    """The process ends here."""


class CrashPoints:
    """Counts the effects of the thread that does the work, and crashes at one of them."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._has_crashed = False
        self._thread = threading.get_ident()
        self.places: Counter[str] = Counter()
        """How often it crashed at each kind of effect."""

    @contextmanager
    def crashing_at(self, number: int) -> Iterator[None]:
        """Crash at the effect of this number, from 0, in the block, if there are so many."""
        self._left = number
        try:
            yield
        finally:
            self._left, self._has_crashed = None, False

    def reach(self, effect: str) -> None:
        """Called before each effect: raises `Crash` for the one that is waited for, and for all after it."""
        if self._left is None or threading.get_ident() != self._thread:
            return
        if self._has_crashed:
            raise Crash
        if self._left == 0:
            self._has_crashed = True
            self.places[effect] += 1
            raise Crash
        self._left -= 1


@contextmanager
def count_effects() -> Iterator[CrashPoints]:
    """Have every effect of this process counted, until the end of the block."""
    points = CrashPoints()

    def on_commit(_connection: Any) -> None:
        points.reach("commit")

    def guard(effect: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **keywords: Any) -> Any:
            points.reach(effect)
            return do(*arguments, **keywords)

        return guarded

    event.listen(Engine, "commit", on_commit)
    with ExitStack() as patches:
        for name in FILE_EFFECTS:
            patches.enter_context(patch.object(os, name, guard(name, getattr(os, name))))
        for name in ARCHIVE_EFFECTS:
            patches.enter_context(patch.object(Archive, name, guard(name, getattr(Archive, name))))
        try:
            yield points
        finally:
            event.remove(Engine, "commit", on_commit)
