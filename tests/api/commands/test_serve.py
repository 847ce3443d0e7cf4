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
from waiting import until


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


def test_no_request_is_lost_when_the_front_door_stops(tmp_path: Path) -> None:
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
    outcomes: Counter[str] = Counter()
    stopped = threading.Event()

    def answers() -> bool:
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def ask() -> None:
        while not stopped.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", settings.http_port, timeout=20)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            except OSError:
                outcomes["lost"] += 1
                return
            try:
                connection.request("GET", "/healthz")
                outcomes[str(connection.getresponse().status)] += 1
            except (OSError, http.client.HTTPException) as error:
                outcomes[f"lost: {type(error).__name__}"] += 1
            finally:
                connection.close()

    try:
        until(answers)
        clients = [threading.Thread(target=ask) for _ in range(6)]
        for client in clients:
            client.start()
        until(lambda: outcomes["200"] > 200)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    finally:
        stopped.set()
        server.kill()
    for client in clients:
        client.join()
    assert set(outcomes) == {"200"}, outcomes
