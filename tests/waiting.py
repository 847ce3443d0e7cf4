"""How long a test waits for work to be done: long, for a busy machine is no failure; a test that passes never waits.

What was told to end has a bound of its own, where it is told.
"""

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 300.0
"""For work, answers and pages; `timeout` in pyproject.toml, for a whole test, is longer."""


def until(condition: Callable[[], Any], seconds: float = PATIENCE_S, *, what: str = "") -> Any:
    """The condition's first true answer; fails loudly when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        time.sleep(0.05)
    return answer
