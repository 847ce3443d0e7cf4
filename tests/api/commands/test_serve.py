"""The commands: serving, stopping without losing a request, tokens."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from minipacs.settings import Settings
from stack import settings_for
from waiting import LOOK_S, PATIENCE_S, until


def command(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of the product, to its end."""
    environment = {**os.environ, **settings.as_environment()}
    return subprocess.run(
        [sys.executable, "-m", "minipacs.cli", *arguments], capture_output=True, text=True, env=environment, check=False
    )


def test_a_token_is_the_only_thing_printed(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    made = command(settings, "token", "create", "notebook", "--role", "annotator")
    assert made.returncode == 0
    assert made.stdout.startswith("mp_")
    assert len(made.stdout.split()) == 1
    again = command(settings, "token", "create", "notebook")
    assert again.returncode == 1
    assert "already" in again.stderr
    assert "notebook\tannotator" in command(settings, "token", "list").stdout
    assert command(settings, "token", "revoke", "notebook").returncode == 0
    assert command(settings, "token", "revoke", "notebook").returncode == 1


def test_requests_from_before_a_stop_are_answered(tmp_path: Path) -> None:
    """Every connection made before SIGTERM gets its answer; a later one gets it too, or none."""
    settings = settings_for(tmp_path, http_workers=2, http_threads=4)
    log = (tmp_path / "api.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "minipacs.cli", "api"],
        env={**os.environ, **settings.as_environment()},
        stdout=log,
        stderr=log,
    )
    log.close()
    address = f"http://127.0.0.1:{settings.http_port}/healthz"
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    signalled = threading.Event()

    def answers() -> bool:
        try:
            with urllib.request.urlopen(address, timeout=LOOK_S) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def ask_until_refused() -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", settings.http_port, timeout=PATIENCE_S)
            try:
                connection.connect()
            except OSError:
                return
            outcomes = after if signalled.is_set() else before
            try:
                connection.request("GET", "/healthz")
                outcomes[str(connection.getresponse().status)] += 1
            except (OSError, http.client.HTTPException) as error:
                outcomes[type(error).__name__] += 1
            finally:
                connection.close()

    clients = [threading.Thread(target=ask_until_refused) for _ in range(6)]
    try:
        until(answers)
        for client in clients:
            client.start()
        until(lambda: before["200"] > 200)
        signalled.set()
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0
    finally:
        server.kill()
    for client in clients:
        client.join()
    assert set(before) == {"200"}, before
    assert set(after) <= {"200", "ConnectionResetError", "RemoteDisconnected", "BrokenPipeError"}, after


STOP_WHILE_STARTING = """
import os, signal, socket, sys, threading
from http.client import HTTPConnection
from gunicorn.app.base import BaseApplication

def answer_hello(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]

def ask_and_stop(worker):
    client = HTTPConnection(*worker.sockets[0].getsockname())
    client.request("GET", "/")
    threading.Thread(target=lambda: print(client.getresponse().read().decode(), flush=True)).start()
    worker.handle_exit(signal.SIGTERM, None)
    os.kill(os.getppid(), signal.SIGTERM)

class Server(BaseApplication):
    def load_config(self):
        self.cfg.set("bind", "127.0.0.1:0")
        self.cfg.set("worker_class", "api.server.worker.FrontDoorWorker")
        self.cfg.set("control_socket_disable", True)
        self.cfg.set("post_worker_init", ask_and_stop)

    def load(self):
        return answer_hello

Server().run()
"""


def test_a_worker_told_to_stop_before_it_accepts_answers_those_who_wait() -> None:
    server = subprocess.run(
        [sys.executable, "-c", STOP_WHILE_STARTING], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (server.returncode, server.stdout) == (0, "hello\n"), server.stderr
