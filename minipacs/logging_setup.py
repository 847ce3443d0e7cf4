"""Where log records go: stderr, as lines for people or as JSON lines for machines (`MINIPACS_LOG_FORMAT`).

A JSON line has `time`, `level`, `logger`, `process`, `message`, and the context of the job (`job`,
`kind`, `attempt`). Of an exception a log has the type and the places, not the words: a foreign library's words
may quote a data element, and a patient's name never reaches a log. A record is one line, and none of its characters
commands a terminal: what a sender put into a UID cannot forge a line.
"""

import json
import logging
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from minipacs.settings import Settings

NOISY_LOGGERS = ("httpx", "pynetdicom", "distributed", "alembic.runtime.plugins")
HARMFUL = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of control and format characters, half surrogate pairs, and separators of lines."""
_log_context: ContextVar[dict[str, Any] | None] = ContextVar("log_context", default=None)


class JsonLineFormatter(logging.Formatter):
    """Formats each record as one JSON object on a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its context, as one line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **(_log_context.get() or {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["exception"] = type(record.exc_info[1]).__name__
            line["places"] = _list_places(record.exc_info[1])
        return escape_control_characters(json.dumps(line, ensure_ascii=False, default=str))


class TextLineFormatter(logging.Formatter):
    """Formats each record for people: a line, and for an exception a line for each place and one for its type."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record's line."""
        return escape_control_characters(super().formatMessage(record))

    def formatException(self, exc_info: Any) -> str:  # noqa: N802 - logging's name
        """The exception and those that caused it: types and places, without their words."""
        lines: list[str] = []
        error: BaseException | None = exc_info[1]
        while error is not None:
            lines = [*(f"    at {place}" for place in _list_places(error)), f"  {type(error).__name__}", *lines]
            error = error.__cause__ or error.__context__
        return "\n".join(lines)


def escape_control_characters(text: str) -> str:
    """The text with control characters and line separators as JSON writes them, `\\n` and `\\u001b`."""
    if text.isprintable():
        return text
    return "".join(json.dumps(c)[1:-1] if unicodedata.category(c) in HARMFUL else c for c in text)


def _list_places(error: BaseException) -> list[str]:
    """Where the exception came through, the outermost call first."""
    places = traceback.extract_tb(error.__traceback__)
    return [f"{place.filename}:{place.lineno} {place.name}" for place in places]


def set_up(settings: Settings, level: int = logging.INFO) -> None:
    """Set logging up for the whole process. Call it once, at its start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLineFormatter() if settings.log_format == "json" else TextLineFormatter())
    silence_pydicom()
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def silence_pydicom() -> None:
    """Let pydicom's warnings reach no log: they quote the elements of the object that they are about."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")


@contextmanager
def log_context(**known: Any) -> Iterator[None]:
    """Add these keys to every JSON line that this thread logs inside."""
    token = _log_context.set({**(_log_context.get() or {}), **known})
    try:
        yield
    finally:
        _log_context.reset(token)
