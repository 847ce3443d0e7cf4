"""Clients that keep a server waiting, many at once: what a front door must bear while it answers everybody else."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

TRICKLE_S = 0.5
"""Each client sends its next byte after so many seconds."""
ANSWER_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Attack:
    """What every connection of an attack does."""

    name: str
    opening: bytes
    """Sent at once."""
    trickle: bytes = b""
    """Sent again and again, one piece each `TRICKLE_S`."""
    begins_tls: bool = True
    """Against https: whether the client makes the handshake; else it sends its bytes as they are."""


def attacks(path_of_body: str, path_of_large_answer: str, headers: str = "") -> list[Attack]:
    """Every kind of slow client; `headers` are lines of a login, each with its line end."""
    post = f"POST {path_of_body} HTTP/1.1\r\nHost: x\r\n{headers}Content-Type: multipart/form-data; boundary=b\r\n"
    get = f"GET {path_of_large_answer} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"
    part = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.dcm"\r\n\r\n'
    return [
        Attack("half-sent headers", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "),
        Attack("headers, a byte at a time", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"a"),
        Attack("body, a byte at a time", f"{post}Content-Length: 100000000\r\n\r\n{part}".encode(), b"a"),
        Attack(
            "chunked body without end",
            f"{post}Transfer-Encoding: chunked\r\n\r\n{len(part):x}\r\n{part}\r\n".encode(),
            b"1\r\na\r\n",
        ),
        Attack("answers that nobody reads", get.encode()),
        Attack("pipelined requests", get.encode() * 20),
        Attack("idle connections", b""),
    ]


def tls_attacks() -> list[Attack]:
    """Slow clients of https alone."""
    return [
        Attack("no handshake", b"", begins_tls=False),
        Attack("half-sent handshake", b"\x16\x03\x01\x02\x00\x01\x00", begins_tls=False),
        Attack("handshake, a byte at a time", b"\x16\x03\x01\x40\x00\x01\x00", b"a", begins_tls=False),
    ]


def connect(port: int, context: ssl.SSLContext | None = None) -> socket.socket:
    """A connection to the server on this machine."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT_S)
    return context.wrap_socket(connection, server_hostname="localhost") if context else connection


class Standing:
    """How far an attack has come."""

    def __init__(self) -> None:
        self.opened = 0
        """Connections that were opened so far."""


@contextmanager
def attacking(attack: Attack, port: int, connections: int, context: ssl.SSLContext | None = None) -> Iterator[Standing]:
    """Keep up so many connections of this attack; one that the server closes is opened again."""
    stop, standing = threading.Event(), Standing()
    thread = threading.Thread(target=_keep_attacking, args=(attack, port, connections, context, stop, standing))
    thread.start()
    try:
        yield standing
    finally:
        stop.set()
        thread.join()


def _keep_attacking(
    attack: Attack,
    port: int,
    connections: int,
    context: ssl.SSLContext | None,
    stop: threading.Event,
    standing: Standing,
) -> None:
    open_ones: list[socket.socket] = []
    while not stop.is_set():
        for _ in range(connections - len(open_ones)):
            if (opened := _open_slow_connection(attack, port, context)) is not None:
                open_ones.append(opened)
                standing.opened += 1
            if stop.is_set():
                break
        open_ones = [one for one in open_ones if _is_still_open(one, attack)]
        stop.wait(TRICKLE_S)
    for one in open_ones:
        one.close()


def _open_slow_connection(attack: Attack, port: int, context: ssl.SSLContext | None) -> socket.socket | None:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(1.0)
    try:
        connection.connect(("127.0.0.1", port))
        if context is not None and attack.begins_tls:
            connection = context.wrap_socket(connection, server_hostname="localhost")
        connection.sendall(attack.opening)
        connection.setblocking(False)
    except OSError:
        connection.close()
        return None
    return connection


def _is_still_open(connection: socket.socket, attack: Attack) -> bool:
    """Send the next piece; False where the server has closed. What it has sent stays unread."""
    try:
        if attack.trickle:
            connection.send(attack.trickle)
        elif isinstance(connection, ssl.SSLSocket):
            return True
        else:
            return connection.recv(1, socket.MSG_PEEK) != b""
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return True
    except OSError:
        connection.close()
        return False
    return True


def longest_answer_s(ask: Callable[[], object], seconds: float) -> float:
    """Ask again and again for so long; the time of the slowest answer."""
    end, slowest = time.monotonic() + seconds, 0.0
    while (began := time.monotonic()) < end:
        ask()
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def read_status(port: int, request: bytes, context: ssl.SSLContext | None = None) -> int:
    """Send these bytes on a connection of its own; the status of the answer (0: closed without one)."""
    with connect(port, context) as connection:
        connection.sendall(request)
        head = b""
        while b"\r\n" not in head and (got := connection.recv(4096)):
            head += got
    return int(head[9:12]) if head.startswith(b"HTTP/1.1 ") else 0
