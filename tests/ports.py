"""Ports for programs that tests start: no other test process gets the same, and no outgoing connection takes it.

A port that the kernel chooses (`bind` to 0) lies in the range of outgoing connections: until the program binds it,
seconds later on a busy machine, anybody's connection may have taken it.
"""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TextIO

FIRST, LAST = 10_000, 32_000
"""Below Linux's `net.ipv4.ip_local_port_range`, which begins at 32768."""
LOCKS = Path(tempfile.gettempdir()) / f"minipacs-test-ports-{os.getuid()}"
"""A file whose byte `port` is locked by the test process that uses this port, until it ends."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1, for TCP and UDP, that are this process's alone."""
    ports = list(islice(_untaken_ports(), count))
    if len(ports) < count:
        raise AssertionError(f"no {count} free ports between {FIRST} and {LAST}")
    return ports


@cache
def _untaken_ports() -> Iterator[int]:
    """Each port once, in an order of chance."""
    order = random.SystemRandom().sample(range(FIRST, LAST), LAST - FIRST)
    return (port for port in order if _is_free(port) and _lock(port))


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True


@cache
def _locks() -> TextIO:
    return LOCKS.open("a")


def _lock(port: int) -> bool:
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True
