"""Where log records go: stderr, as lines for people or as JSON lines for machines (`MINIPACS_LOG_FORMAT`).

A JSON line has `time`, `level`, `logger`, `process`, `message`, and what is known of the job at hand (`job`,
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

CHATTY = ("httpx", "pynetdicom", "distributed", "alembic.runtime.plugins")
_at_hand: ContextVar[dict[str, Any] | None] = ContextVar("at_hand", default=None)


class JsonLines(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record and what is at hand."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **(_at_hand.get() or {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
            places = traceback.extract_tb(record.exc_info[2])
            line["places"] = [f"{place.filename}:{place.lineno} {place.name}" for place in places]
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(settings: Settings, level: int = logging.INFO) -> None:
    """For the whole process, once."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if settings.log_format == "json" else text)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


@contextmanager
def at_hand(**known: Any) -> Iterator[None]:
    """Records of this thread made inside bear these."""
    token = _at_hand.set({**(_at_hand.get() or {}), **known})
    try:
        yield
    finally:
        _at_hand.reset(token)
