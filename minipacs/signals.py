"""How a long-lived command learns that it is to end."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""A service manager's word, and Ctrl+C."""


def asked_to_end() -> threading.Event:
    """Set once one of `SIGNALS` has come; call it in the main thread."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in SIGNALS:
        signal.signal(number, on_signal)
    return stop


def when_asked_to_end(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The same for a running loop of asyncio: `close` is started once one of `SIGNALS` has come."""
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, lambda: asyncio.ensure_future(close()))
