"""The connections of the prompt service: how many there may be, and how long each may take to send a request.

A thread reads each connection. Whoever sends half a request, or a byte now and then, would keep its thread for ever;
so the head and the body of a request each have a deadline, and a connection that passes it is shut down, which wakes
its thread. Where there are too many connections, the one that has waited for longest without an answer in the making
goes: the front door, which sends a request at once, always finds a place.
"""

from dataclasses import dataclass
from socket import SHUT_RDWR, socket
from threading import Lock
from time import monotonic

HEAD_LIMIT_S = 10.0
"""A new connection has sent a request's head, with the key, by then."""
IDLE_LIMIT_S = 120.0
"""A connection that had the key may wait so long between two requests."""
BODY_LIMIT_S = 60.0
"""A body, whose sender had the key, has come by then, and an answer was taken: the largest body has 96 MB."""
MAX_CONNECTIONS = 64


@dataclass
class _Connection:
    """What a connection does, and until when."""

    socket: socket
    since: float
    deadline: float
    """On the monotonic clock; infinite while an answer is made."""
    has_shown_key: bool = False

    @property
    def is_answered(self) -> bool:
        """Whether an answer is being made."""
        return self.deadline == float("inf")


class Connections:
    """All connections. Threads share it."""

    def __init__(self, maximum: int = MAX_CONNECTIONS) -> None:
        self._maximum = maximum
        self._connections: dict[socket, _Connection] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: socket) -> bool:
        """Take a new connection; `False` when it must be closed, because all others are being answered."""
        now = monotonic()
        with self._lock:
            if len(self._connections) >= self._maximum and not self._cut_off_longest_waiting():
                return False
            self._connections[connection] = _Connection(connection, now, now + HEAD_LIMIT_S)
            return True

    def remove(self, connection: socket) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._connections.pop(connection, None)

    def start_body(self, connection: socket) -> None:
        """The head has come with the key: the body has its own deadline."""
        self._set_deadline(connection, BODY_LIMIT_S)

    def start_answer(self, connection: socket) -> None:
        """The body has come: the answer takes as long as it takes."""
        self._set_deadline(connection, float("inf"))

    def start_sending(self, connection: socket) -> None:
        """The answer is made: the client takes it, or is cut off."""
        with self._lock:
            known = self._connections.get(connection)
            if known is not None:
                known.deadline = monotonic() + BODY_LIMIT_S

    def start_waiting(self, connection: socket) -> None:
        """The answer was sent: another request may follow."""
        with self._lock:
            known = self._connections.get(connection)
            if known is not None:
                known.since = monotonic()
                known.deadline = known.since + (IDLE_LIMIT_S if known.has_shown_key else HEAD_LIMIT_S)

    def cut_off_overdue(self) -> None:
        """Shut down every connection whose deadline is over."""
        now = monotonic()
        with self._lock:
            for overdue in [each for each in self._connections.values() if each.deadline < now]:
                self._cut_off(overdue)

    def _set_deadline(self, connection: socket, limit_s: float) -> None:
        with self._lock:
            known = self._connections.get(connection)
            if known is not None:
                known.deadline, known.has_shown_key = monotonic() + limit_s, True

    def _cut_off_longest_waiting(self) -> bool:
        """Cut off who waits for longest, first of those that never had the key; `False` where nobody waits."""
        waiting = [each for each in self._connections.values() if not each.is_answered]
        if not waiting:
            return False
        self._cut_off(min(waiting, key=lambda each: (each.has_shown_key, each.since)))
        return True

    def _cut_off(self, connection: _Connection) -> None:
        """Shut a connection down: its thread, which waits for bytes, gets the end of the stream and closes it."""
        self._connections.pop(connection.socket, None)
        try:
            connection.socket.shutdown(SHUT_RDWR)
        except OSError:  # closed already
            return
