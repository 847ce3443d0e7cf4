"""How a long-lived command learns that it is to end."""

import signal
import threading
from types import FrameType


def asked_to_end() -> threading.Event:
    """Set once SIGTERM or SIGINT (Ctrl+C) has come; call it in the main thread."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop
