"""How long an installed system takes from `minipacs up` to "ready", first start and later ones.

.venv/bin/python -m benchmarks.bench_startup [--rounds N]
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from minipacs.settings import Settings


def main() -> None:
    """Start and stop in one folder, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = settings_in(Path(home))
        times = [start_and_stop(settings) for _ in range(arguments.rounds)]
    print("| start | ready after, s | stopped after, s |\n|---|---:|---:|")
    for number, (ready, stopped) in enumerate(times, 1):
        print(f"| {'first, empty folder' if number == 1 else f'again ({number})'} | {ready:.1f} | {stopped:.1f} |")


def start_and_stop(settings: Settings) -> tuple[float, float]:
    """Seconds until the word `ready`, and seconds from Ctrl+C to the end."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "minipacs.cli", "up"],
        env={**os.environ, **settings.as_environment()},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "minipacs: ready":
            break
    ready = time.perf_counter() - started
    process.send_signal(signal.SIGINT)
    process.communicate()
    return ready, time.perf_counter() - started - ready


def settings_in(home: Path) -> Settings:
    """Free ports, data below `home`."""
    sockets = [socket.socket() for _ in range(5)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    http, archive, dicom, bell, prompts = (str(s.getsockname()[1]) for s in sockets)
    for s in sockets:
        s.close()
    return Settings.from_env(
        {
            "MINIPACS_HOME": str(home),
            "MINIPACS_HTTP_PORT": http,
            "MINIPACS_ORTHANC_PORT": archive,
            "MINIPACS_DICOM_PORT": dicom,
            "MINIPACS_DOORBELL": f"127.0.0.1:{bell}",
            "MINIPACS_PROMPTS": f"127.0.0.1:{prompts}",
        }
    )


if __name__ == "__main__":
    main()
