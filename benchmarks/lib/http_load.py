"""A server to measure, and clients that cost little: plain sockets, connections kept."""

import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT

PathOf = Callable[[int], str]
"""The path of the n-th request."""

READ_BYTES = 1 << 20
WARM_UP_S = 0.3
START_LIMIT_S = 60


@dataclass(frozen=True)
class LoadFigures:
    """What clients saw: answers a second, their 95th percentile, megabytes a second."""

    rate: float
    p95_ms: float
    mb_s: float


class Client:
    """One kept connection. Reads an answer whole and throws it away."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._block = bytearray(READ_BYTES)

    def get(self, path: str, headers: bytes) -> int:
        """Send a request; the bytes of the answer's body. Anything but 200 or 206 is an error."""
        self._socket.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            got = self._socket.recv(65536)
            if not got:
                raise RuntimeError(f"{path}: the connection ended")
            head += got
        head, _, body = head.partition(b"\r\n\r\n")
        if head[9:12] not in (b"200", b"206"):
            raise RuntimeError(f"{path}: {head.splitlines()[0].decode()}")
        fields = dict(line.lower().split(b":", 1) for line in head.splitlines()[1:])
        if b"content-length" not in fields:
            return self._read_chunked_body(body)
        left = int(fields[b"content-length"]) - len(body)
        while left > 0:
            left -= self._socket.recv_into(self._block, min(left, READ_BYTES))
        return int(fields[b"content-length"])

    def _read_chunked_body(self, body: bytes) -> int:
        """Read a chunked body (RFC 9112 7.1) to its end; its bytes, framing included."""
        size, tail = len(body), body[-5:]
        while not tail.endswith(b"0\r\n\r\n"):
            got = self._socket.recv_into(self._block)
            size, tail = size + got, (tail + bytes(self._block[max(got - 5, 0) : got]))[-5:]
        return size

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def measure_load(port: int, path: PathOf, headers: Mapping[str, str], seconds: float, clients: int) -> LoadFigures:
    """Ask one server, by so many clients at once, for so many seconds."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    times: list[float] = []
    sizes: list[int] = []
    broken: list[Exception] = []

    def run(n: int) -> None:
        client = Client(port)
        try:
            while (began := time.perf_counter()) < end:
                sizes.append(client.get(path(n), lines))
                times.append(time.perf_counter() - began)
                n += clients
        except (OSError, RuntimeError) as error:
            broken.append(error)
        finally:
            client.close()

    began = time.perf_counter()
    end = began + seconds
    threads = [threading.Thread(target=run, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]
    took = time.perf_counter() - began
    p95 = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
    return LoadFigures(len(times) / took, p95 * 1000, sum(sizes) / took / 1e6)


Target = tuple[int, PathOf, Mapping[str, str]]
"""Port, path of the n-th request, headers."""


def measure_in_turns(
    seconds: float, clients: int, ours: Target, theirs: Target, rounds: int = 3
) -> tuple[LoadFigures, LoadFigures]:
    """Ask both servers in turns; the medians of the rounds. A warm-up goes before."""
    for target in (ours, theirs):
        measure_load(*target, WARM_UP_S, clients)

    pairs = [[measure_load(*target, seconds / rounds, clients) for target in (ours, theirs)] for _ in range(rounds)]
    medians = [
        LoadFigures(
            *(statistics.median(getattr(pair[i], name) for pair in pairs) for name in ("rate", "p95_ms", "mb_s"))
        )
        for i in (0, 1)
    ]
    return medians[0], medians[1]


def free_port() -> int:
    """A port nobody uses at the moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def run_server(command: list[str], port: int, folder: Path, environment: Mapping[str, str]) -> Iterator[int]:
    """Run a server's process; yields its port once it answers."""
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def serve_app(folder: Path, module: str, environment: Mapping[str, str]) -> Iterator[int]:
    """Serve the application of this module by gunicorn, as `minipacs api` starts it; yields its port."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-k",
        "api.server.worker.FrontDoorWorker",
        "--threads",
        "24",
        "-w",
        "1",
    ]
    command += ["--log-level", "error", "-b", f"127.0.0.1:{port}", module]
    with run_server(command, port, folder, {**environment, "PYTHONPATH": str(ROOT)}):
        yield port
