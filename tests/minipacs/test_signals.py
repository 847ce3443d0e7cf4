"""A command that gets a stop signal ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from minipacs.signals import SIGNALS, make_stop_event
from waiting import LOOK_S, PATIENCE_S

WAITING = """
import signal, sys
from minipacs.signals import make_stop_event

stop = make_stop_event()
with stop._cond:  # as a signal finds it that comes in the first steps of `stop.wait`
    signal.raise_signal(int(sys.argv[1]))
    signal.raise_signal(int(sys.argv[1]))
sys.exit(0 if stop.wait(float(sys.argv[2])) else 1)
"""
FORKING = """
import os, signal, sys, time
from minipacs.signals import make_stop_event

stop = make_stop_event()
is_running, child_says = os.pipe()
child = os.fork()
if not child:
    os.write(child_says, b"running")  # a signal that comes before its interpreter runs is lost
    time.sleep(float(sys.argv[1]))
    sys.exit(2)
os.read(is_running, 1)
os.kill(child, signal.SIGTERM)
_, status = os.waitpid(child, 0)
sys.exit(0 if os.WTERMSIG(status) == signal.SIGTERM and not stop.wait(0.5) else 1)
"""
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
def test_a_signal_that_comes_while_the_event_is_locked_is_heard(number: signal.Signals) -> None:
    command = [sys.executable, "-c", WAITING, str(int(number)), str(LOOK_S)]
    assert subprocess.run(command, timeout=2 * LOOK_S).returncode == 0


def test_a_signal_to_a_forked_child_ends_the_child_alone() -> None:
    assert (
        subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING, str(LOOK_S)], timeout=PATIENCE_S).returncode == 0
    )


@pytest.mark.parametrize("number", SIGNALS)
def test_a_loop_hears_it_too(number: signal.Signals) -> None:
    assert subprocess.run([sys.executable, "-c", SERVER, str(int(number))], timeout=PATIENCE_S).returncode == 0
