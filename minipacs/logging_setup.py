"""Where log records go: stderr, as lines for people or as JSON lines for machines (`MINIPACS_LOG_FORMAT`).

A JSON line has `time`, `level`, `logger`, `process`, `message`, and the context of the job (`job`,
`kind`, `attempt`). Of an exception it has the type and the places, not the words: a foreign library's words
may quote a data element, and a patient's name never reaches a log.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from minipacs.settings import Settings

NOISY_LOGGERS = ("httpx", "pynetdicom", "distributed", "alembic.runtime.plugins")
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
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
            places = traceback.extract_tb(record.exc_info[2])
            line["places"] = [f"{place.filename}:{place.lineno} {place.name}" for place in places]
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(settings: Settings, level: int = logging.INFO) -> None:
    """Set logging up for the whole process. Call it once, at its start."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLineFormatter() if settings.log_format == "json" else text)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def log_context(**known: Any) -> Iterator[None]:
    """Add these keys to every JSON line that this thread logs inside."""
    token = _log_context.set({**(_log_context.get() or {}), **known})
    try:
        yield
    finally:
        _log_context.reset(token)
