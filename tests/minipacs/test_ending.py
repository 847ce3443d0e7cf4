"""A command that is told to end, ends."""

import os
import signal
from collections.abc import Iterator

import pytest

from minipacs.ending import asked_to_end


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heard(number: signal.Signals) -> None:
    stop = asked_to_end()
    assert not stop.is_set()
    os.kill(os.getpid(), number)
    assert stop.wait(5)
