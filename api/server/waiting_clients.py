"""Who of the threads is working, and which of them wait for a client.

A thread that works holds a slot; there are as many as the setting HTTP_THREADS says. One that waits until its client
sends or reads gives its slot back meanwhile, so that slow clients stop nobody. There is a limit on threads that wait:
beyond it the slowest client is disconnected.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class WaitingClient(Protocol):
    """What is known of a client that a thread waits for."""

    @property
    def rate(self) -> float:
        """Bytes a second, since it was first waited for."""

    def disconnect(self) -> None:
        """End the connection; whoever waits for it is woken."""


class WaitingClients:
    """The slots of one process, and the clients its threads wait for. Shared by its threads."""

    def __init__(self, slots: int, most: int) -> None:
        self._slots = threading.Semaphore(slots)
        self._most = most
        self._clients: set[WaitingClient] = set()
        self._lock = threading.Lock()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Hold a slot."""
        with self._slots:
            yield

    @contextmanager
    def wait_for(self, client: WaitingClient) -> Iterator[None]:
        """Give the slot of this thread back while it waits for a client."""
        self._add(client)
        self._slots.release()
        try:
            yield
        finally:
            self._slots.acquire()
            with self._lock:
                self._clients.discard(client)

    def _add(self, client: WaitingClient) -> None:
        with self._lock:
            self._clients.add(client)
            if len(self._clients) <= self._most:
                return
            slowest = min(self._clients - {client}, key=lambda one: one.rate)
            self._clients.discard(slowest)
        slowest.disconnect()
