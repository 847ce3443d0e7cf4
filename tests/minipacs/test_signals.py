"""A command that is told to end, ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from minipacs.signals import SIGNALS, make_stop_event
from waiting import PATIENCE_S

SERVER = """
import asyncio, os, sys
from minipacs.signals import close_on_stop_signal

async def serve():
    ended = asyncio.Event()
    async def close():
        ended.set()
    close_on_stop_signal(close)
    os.kill(os.getpid(), int(sys.argv[1]))
    await ended.wait()

asyncio.run(serve())
"""
"""In a process of its own: Playwright may have a loop running in the tests' main thread."""


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_heard(number: signal.Signals) -> None:
    stop = make_stop_event()
    assert not stop.is_set()
    os.kill(os.getpid(), number)
    assert stop.wait(PATIENCE_S)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_loop_hears_it_too(number: signal.Signals) -> None:
    assert subprocess.run([sys.executable, "-c", SERVER, str(int(number))], timeout=PATIENCE_S).returncode == 0
