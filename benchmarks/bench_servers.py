"""WSGI servers under slow clients, refused bodies and plain load: which one can be the front door.

    .venv/bin/python -m benchmarks.bench_servers [--python PYTHON] [--servers NAME …] [--seconds S]

The candidates beside ours are not installed with minipacs: PYTHON is that of an environment that has them beside Flask
(`pip install granian waitress cheroot hypercorn uvicorn a2wsgi gevent`). One application of Flask, one process each, on
a port of loopback; a server that does not answer within 5 s stands as –.
"""

import argparse
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

from benchmarks import ROOT
from benchmarks.lib.http_load import free_port, measure_load
from slow_clients import attacking, attacks

APP = "benchmarks.lib.server_app:app"
ANSWER_S = 5.0
CONNECTIONS = 300
IDLE_CONNECTIONS = 2000
UPLOAD_BYTES = 512 * 10**6
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CHEROOT = (
    "from cheroot.wsgi import Server; from benchmarks.lib.server_app import app; "
    "Server(('127.0.0.1', {port}), app, numthreads=24).safe_start()"
)


def build_commands(python: str, port: int) -> dict[str, list[str]]:
    """The command of each server, as near as it comes to 24 threads and to many connections."""
    gunicorn = [python, "-m", "gunicorn", "--log-level", "critical", "-b", f"127.0.0.1:{port}"]
    granian = [python, "-m", "granian", "--host", "127.0.0.1", "--port", str(port), "--interface", "wsgi", "--no-ws"]
    return {
        "ours": [*gunicorn, "-k", "api.server.worker.FrontDoorWorker", "--threads", "24", APP],
        "gunicorn gthread": [*gunicorn, "-k", "gthread", "--threads", "24", APP],
        "gunicorn gevent": [*gunicorn, "-k", "gevent", "--worker-connections", "5000", APP],
        "granian": [*granian, "--blocking-threads", "256", "--backpressure", "20000", "--backlog", "4096", APP],
        "waitress": [
            *(python, "-m", "waitress", "--threads=24", "--connection-limit=5000", "--asyncore-use-poll"),
            *("--max-request-body-size=10000000000", f"--listen=127.0.0.1:{port}", APP),
        ],
        "cheroot": [python, "-c", CHEROOT.format(port=port)],
        "uvicorn, a2wsgi": [
            *(python, "-m", "uvicorn", "--port", str(port), "--log-level", "critical", "--backlog", "4096"),
            "benchmarks.lib.server_app:asgi",
        ],
        "hypercorn": [python, "-m", "hypercorn", "-b", f"127.0.0.1:{port}", APP],
    }


@dataclass
class Figures:
    """What was measured of one server."""

    small_per_s: str = "–"
    file_mb_s: str = "–"
    upload_mb_s: str = "–"
    upload_memory_mb: str = "–"
    refuses_unread: str = "–"
    refuses_who_asks: str = "–"
    slowest_s: dict[str, str] = field(default_factory=dict)
    lost_at_stop: str = "–"


def ask(port: int, request: bytes = HEALTH, timeout_s: float = ANSWER_S) -> bytes:
    """The beginning of the answer; `OSError` where none comes in time."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(request)
        return connection.recv(4096)


@contextmanager
def serving(command: list[str], port: int) -> Iterator[psutil.Process]:
    """A running server; its last signal is SIGTERM."""
    quiet, environment = subprocess.DEVNULL, {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet, env=environment)
    try:
        deadline = time.monotonic() + 30
        while not is_answering(port):
            if time.monotonic() > deadline or server.poll() is not None:
                raise RuntimeError("it does not start")
            time.sleep(0.1)
        yield psutil.Process(server.pid)
    finally:
        for child in psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []:
            with suppress(psutil.Error):
                child.terminate()
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def is_answering(port: int) -> bool:
    """Whether the small answer comes."""
    try:
        return b" 200 " in ask(port, timeout_s=1)
    except OSError:
        return False


def measure_upload(port: int, server: psutil.Process) -> tuple[str, str]:
    """MB a second of an upload, and by how many MB the processes grew."""
    head = f"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: {UPLOAD_BYTES}\r\n\r\n".encode()
    block = bytes(10**6)
    before, peak = measure_memory(server), 0
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head)
        for n in range(UPLOAD_BYTES // len(block)):
            connection.sendall(block)
            if n % 20 == 0:
                peak = max(peak, measure_memory(server))
        if b" 200 " not in connection.recv(4096):
            return "refused", "–"
    rate = UPLOAD_BYTES / 1e6 / (time.perf_counter() - began)
    return f"{rate:.0f}", f"{max(peak - before, 0) / 1e6:.0f}"


def measure_memory(server: psutil.Process) -> int:
    """Bytes of the server's processes."""
    total = 0
    for one in [server, *server.children(recursive=True)]:
        with suppress(psutil.Error):
            total += one.memory_info().rss
    return total


def measure_refusal(port: int, header: str) -> str:
    """How a request is answered of whose 8 GB no byte is sent."""
    request = f"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000000\r\n{header}\r\n".encode()
    try:
        answer = ask(port, request)
    except OSError:
        return "no answer"
    return "yes" if b" 401 " in answer.split(b"\r\n")[0] else "asks for the body"


def measure_attack(port: int, name: str, seconds: float) -> str:
    """The slowest small answer while the attack stands, in seconds."""
    attack = next(one for one in attacks("/read", "/stream") if one.name == name)
    connections = IDLE_CONNECTIONS if attack.name.startswith("idle") else CONNECTIONS
    slowest = 0.0
    with attacking(attack, port, connections) as standing:
        deadline = time.monotonic() + 10
        while standing.opened < connections and time.monotonic() < deadline:
            time.sleep(0.05)
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end:
            try:
                ask(port)
            except OSError:
                return "–"
            slowest = max(slowest, time.monotonic() - began)
    return f"{slowest:.2f}"


def count_lost_at_stop(port: int, server: psutil.Process) -> str:
    """Connections made before SIGTERM that get no answer, of those of 4 clients that ask without a pause."""
    signalled = threading.Event()
    lost: list[int] = []
    answered: list[int] = []

    def run() -> None:
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)
            except OSError:
                return
            is_before = not signalled.is_set()
            try:
                connection.sendall(HEALTH)
                is_answered = b" 200 " in connection.recv(4096)
            except OSError:
                is_answered = False
            connection.close()
            if is_before:
                (answered if is_answered else lost).append(1)

    clients = [threading.Thread(target=run) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(1)
    signalled.set()
    server.terminate()
    for client in clients:
        client.join()
    return f"{len(lost)} of {len(lost) + len(answered)}"


def measure_server(command: list[str], port: int, seconds: float) -> Figures:
    """All figures of one server; what it cannot do stays –."""
    figures = Figures()
    with serving(command, port) as server:
        figures.small_per_s = attempt(lambda: f"{measure_load(port, lambda _n: '/healthz', {}, seconds, 4).rate:.0f}")
        figures.file_mb_s = attempt(lambda: f"{measure_load(port, lambda _n: '/file', {}, seconds, 2).mb_s:.0f}")
        figures.refuses_unread = measure_refusal(port, "")
        figures.refuses_who_asks = measure_refusal(port, "Expect: 100-continue\r\n")
        try:
            figures.upload_mb_s, figures.upload_memory_mb = measure_upload(port, server)
        except OSError:
            figures.upload_mb_s = "broke off"
    for attack in attacks("/read", "/stream"):
        with serving(command, port):  # afresh: what one attack left behind is no fault under the next
            figures.slowest_s[attack.name] = measure_attack(port, attack.name, seconds)
    with serving(command, port) as server:
        figures.lost_at_stop = count_lost_at_stop(port, server)
    return figures


def attempt(measure: Callable[[], str]) -> str:
    """The figure, or – where the server fails."""
    try:
        return measure()
    except (OSError, RuntimeError):
        return "–"


def print_tables(found: dict[str, Figures]) -> None:
    """Both tables, in Markdown."""
    columns = ("server", "small, /s", "file, MB/s", "upload, MB/s", "+ MB", "refuses unread", "who asks first", "lost")
    print(f"\n| {' | '.join(columns)} |")
    print("|---|---:|---:|---:|---:|---|---|---:|")
    for name, f in found.items():
        cells = (f.small_per_s, f.file_mb_s, f.upload_mb_s, f.upload_memory_mb)
        print(f"| {' | '.join([name, *cells, f.refuses_unread, f.refuses_who_asks, f.lost_at_stop])} |")
    names = [attack.name for attack in attacks("/read", "/stream")]
    print(f"\n| slowest answer during, s | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    for name, f in found.items():
        print(f"| {name} | {' | '.join(f.slowest_s.get(attack, '–') for attack in names)} |")


def main() -> None:
    """Measure each server and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--servers", nargs="+", default=list(build_commands("", 0)), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    found: dict[str, Figures] = {}
    for name in arguments.servers:
        port = free_port()
        try:
            found[name] = measure_server(build_commands(arguments.python, port)[name], port, arguments.seconds)
        except (RuntimeError, OSError, psutil.Error) as error:
            print(f"{name}: {error}", flush=True)
        else:
            print(f"{name}: {found[name]}", flush=True)
    print_tables(found)


if __name__ == "__main__":
    main()
