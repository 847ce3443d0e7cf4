"""A command that is told to end, ends."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from minipacs.ending import SIGNALS, asked_to_end, when_asked_to_end
from waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_heard(number: signal.Signals) -> None:
    stop = asked_to_end()
    assert not stop.is_set()
    os.kill(os.getpid(), number)
    assert stop.wait(PATIENCE_S)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_loop_hears_it_too(number: signal.Signals) -> None:
    async def served() -> None:
        ended = asyncio.Event()

        async def close() -> None:
            ended.set()

        when_asked_to_end(close)
        os.kill(os.getpid(), number)
        await asyncio.wait_for(ended.wait(), PATIENCE_S)

    asyncio.run(served())
