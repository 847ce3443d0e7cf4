"""The idle logoff: which requests are a person's use of a session, and when it was used last.

Every request is a use, but those that a page sends by itself: the stream of job events, the question how long the
session lives, and polls, which say so in the header `X-Minipacs-Automatic` (a page that loads itself again: in a
cookie, as it cannot send a header). Whoever only scrolls, draws or reads sends no request: pages and viewer report a
person's input once a minute (`static/session_use.js`).
"""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from flask import request
from sqlalchemy import update

from api.auth.sessions import LoginSession
from api.web.describe_route import current_description
from minipacs.database import Database
from minipacs.errors import CatalogueUnavailable

log = logging.getLogger(__name__)
AUTOMATIC_HEADER = "X-Minipacs-Automatic"
AUTOMATIC_COOKIE = "minipacs_automatic"
RECORD_S = 60.0
"""A use is written at most so often for each session: the idle logoff is exact to a minute."""
MAX_REMEMBERED = 10_000


class SessionUseRecorder:
    """Writes when a session was used last, in a thread of its own: no request waits for the database's writers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recorded: dict[str, float] = {}
        self._lock = threading.Lock()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="session-use")

    def record(self, id_hash: str) -> None:
        """Note that a session is used now, unless that was noted within the last minute."""
        now = time.monotonic()
        if self._recorded.get(id_hash, 0.0) > now - RECORD_S:
            return

        with self._lock:
            if self._recorded.get(id_hash, 0.0) > now - RECORD_S:
                return
            if len(self._recorded) >= MAX_REMEMBERED:
                self._recorded.clear()
            self._recorded[id_hash] = now
        self._writer.submit(self._write, id_hash)

    def close(self) -> None:
        """Write what is to be written, and end the thread."""
        self._writer.shutdown()

    def _write(self, id_hash: str) -> None:
        try:
            with self._database.writing() as session:
                used = update(LoginSession).where(LoginSession.id_hash == id_hash)
                session.execute(used.values(last_used=self._database.now()))
        except CatalogueUnavailable:
            self._recorded.pop(id_hash, None)  # the next request tries again
            log.exception("a session's use was not written")


def is_use_by_person() -> bool:
    """Whether this request is a person's, and no page's own."""
    if current_description().does_not_extend_session or AUTOMATIC_HEADER in request.headers:
        return False
    return AUTOMATIC_COOKIE not in request.cookies
