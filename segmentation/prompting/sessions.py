"""Sessions: the last answer of one user for one series. They live in memory and end after a time unused."""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_urlsafe
from threading import Lock
from time import monotonic
from typing import Any

from minipacs.errors import NotFound
from segmentation.prompting.volume_cache import LoadedSeries

IDLE_LIMIT_S = 3600.0
"""A session ends so long after its last use."""
MAX_SESSIONS_OF_USER = 8
"""The one used longest ago ends when a user begins one more."""
MAX_SESSIONS = 500


@dataclass
class Answer:
    """The last answer, and the prompts it answers."""

    series: LoadedSeries
    engine: str
    prompts: list[dict[str, Any]]
    """As they were sent."""
    propagate: bool
    window: tuple[float, float] | None
    """Centre and width."""
    runs: dict[int, list[int]]
    """The mask by slice index; see `run_length.py`."""
    voxels: int


@dataclass
class Session:
    """One user's, for one series."""

    id: str
    user: str
    series_instance_uid: str
    used_at: float
    lock: Lock = field(default_factory=Lock)
    """Taken while a prompt is answered: answers come in the order of their requests."""
    answer: Answer | None = None


class Sessions:
    """All sessions; a user never meets another's."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._sessions: dict[str, Session] = {}
        self._lock = Lock()
        self._clock = clock

    def get(self, user: str, session_id: str) -> Session:
        """The user's own session; raises `NotFound`."""
        with self._lock:
            self._end_idle_sessions()

            session = self._sessions.get(session_id)
            if session is None or session.user != user:
                raise NotFound("There is no such prompt session.", "It has ended; send the prompts again.")

            session.used_at = self._clock()
            return session

    def open(self, user: str, series_instance_uid: str, session_id: str = "") -> Session:
        """The session of this identifier, where it is the user's and of this series; otherwise a new one."""
        with self._lock:
            self._end_idle_sessions()

            session = self._sessions.get(session_id)
            if session is None or session.user != user or session.series_instance_uid != series_instance_uid:
                session = Session(token_urlsafe(18), user, series_instance_uid, self._clock())
                self._sessions[session.id] = session
                self._end_surplus_sessions(user)

            session.used_at = self._clock()
            return session

    def end(self, user: str, session_id: str) -> None:
        """Forget the user's session; raises `NotFound`."""
        session = self.get(user, session_id)
        with self._lock:
            self._sessions.pop(session.id, None)

    def __len__(self) -> int:
        return len(self._sessions)

    def _end_idle_sessions(self) -> None:
        oldest = self._clock() - IDLE_LIMIT_S
        for session in [each for each in self._sessions.values() if each.used_at < oldest]:
            del self._sessions[session.id]

    def _end_surplus_sessions(self, user: str) -> None:
        """End the sessions used longest ago, of the user and of all, beyond their limits."""
        of_user = [session for session in self._sessions.values() if session.user == user]

        for sessions, limit in ((of_user, MAX_SESSIONS_OF_USER), (list(self._sessions.values()), MAX_SESSIONS)):
            for session in sorted(sessions, key=lambda each: each.used_at)[:-limit]:
                self._sessions.pop(session.id, None)
