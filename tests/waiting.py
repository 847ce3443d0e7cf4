"""How long a test waits for anything: long, for a busy machine is no failure; a test that passes never waits.

Every deadline of the tests is `PATIENCE_S`; there is no other number. MINIPACS_TEST_PATIENCE multiplies it, and
with it the limit of a whole test (`timeout` in pyproject.toml), for a machine that is slower still.
"""

import os
import time
from collections.abc import Callable
from typing import Any

SCALE = float(os.environ.get("MINIPACS_TEST_PATIENCE", "1"))
PATIENCE_S = 300.0 * SCALE
"""For work, answers, pages, and the end of what was told to end."""
LOOK_S = PATIENCE_S / 10
"""For one answer where a wait asks again and again."""
FOREVER_S = 100 * PATIENCE_S
"""How long a stand-in sleeps that must be ended by others: never through, whatever the machine does."""


def until(condition: Callable[[], Any], seconds: float = PATIENCE_S, *, what: str = "") -> Any:
    """The condition's first true answer; fails loudly when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        time.sleep(0.05)
    return answer
