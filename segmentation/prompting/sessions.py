"""Sessions: what one user last asked for and got. They live in memory and end after a time unused."""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_urlsafe
from threading import Lock
from time import monotonic
from typing import Any

from minipacs.errors import NotFound
from segmentation.prompting.volume_cache import Held

IDLE_S = 3600.0
MOST_OF_A_USER = 8
"""The one used longest ago ends when a user begins one more."""
MOST = 500


@dataclass
class Answer:
    """What was answered last, and to what."""

    held: Held
    engine: str
    prompts: list[dict[str, Any]]
    propagate: bool
    window: tuple[float, float] | None
    runs: dict[int, list[int]]
    """By slice index; see `runs.py`."""
    voxels: int


@dataclass
class Session:
    """One user's, for one series."""

    id: str
    user: str
    series_instance_uid: str
    used: float
    lock: Lock = field(default_factory=Lock)
    """Held while a prompt is answered: answers come in the order they were asked for."""
    answer: Answer | None = None


class Sessions:
    """All of them; a user never meets another's."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._sessions: dict[str, Session] = {}
        self._lock = Lock()
        self._clock = clock

    def get(self, user: str, session_id: str) -> Session:
        """The user's own session; raises `NotFound`."""
        with self._lock:
            self._sweep()
            session = self._sessions.get(session_id)
            if session is None or session.user != user:
                raise NotFound("There is no such prompt session.", "It has ended; send the prompts again.")
            session.used = self._clock()
            return session

    def open(self, user: str, series_instance_uid: str, session_id: str = "") -> Session:
        """The session asked for, where it is the user's and of this series; otherwise a new one."""
        with self._lock:
            self._sweep()
            session = self._sessions.get(session_id)
            if session is None or session.user != user or session.series_instance_uid != series_instance_uid:
                session = Session(token_urlsafe(18), user, series_instance_uid, self._clock())
                self._sessions[session.id] = session
                self._bound(user)
            session.used = self._clock()
            return session

    def end(self, user: str, session_id: str) -> None:
        """Forget the user's session; raises `NotFound`."""
        session = self.get(user, session_id)
        with self._lock:
            self._sessions.pop(session.id, None)

    def __len__(self) -> int:
        return len(self._sessions)

    def _sweep(self) -> None:
        oldest = self._clock() - IDLE_S
        for session in [s for s in self._sessions.values() if s.used < oldest]:
            del self._sessions[session.id]

    def _bound(self, user: str) -> None:
        for chosen, most in (
            ([s for s in self._sessions.values() if s.user == user], MOST_OF_A_USER),
            (list(self._sessions.values()), MOST),
        ):
            for session in sorted(chosen, key=lambda s: s.used)[:-most]:
                self._sessions.pop(session.id, None)
