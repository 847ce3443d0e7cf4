"""SIGTERM and SIGINT: how a long-lived command learns that it must end."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What a service manager sends, and Ctrl+C."""


def make_stop_event() -> threading.Event:
    """An event that is set by the first of `SIGNALS`. Must be called in the main thread.

    A handler runs in the main thread, between any two of its steps: also inside `Event.wait`, which holds the
    event's lock there. A handler that set the event would wait for that lock for ever. It writes to a pipe
    instead, and a thread sets the event.
    """
    stop = threading.Event()
    read_end, write_end = os.pipe()

    our_pid = os.getpid()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if os.getpid() == our_pid:
            os.write(write_end, b"\0")
        else:  # a child by fork shares the pipe, and is no long-lived command: it ends
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def set_on_signal() -> None:
        os.read(read_end, 1)
        stop.set()

    threading.Thread(target=set_on_signal, name="stop signal", daemon=True).start()
    for number in SIGNALS:
        signal.signal(number, on_signal)
    return stop


def close_on_stop_signal(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Start the coroutine `close()` at the first of `SIGNALS`. Must be called in the running loop of asyncio."""
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, lambda: asyncio.ensure_future(close()))
