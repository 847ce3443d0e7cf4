"""How long an installed system takes from `minipacs up` to "ready", first start and later ones.

.venv/bin/python -m benchmarks.bench_startup [--rounds N]
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.lib.free_ports import settings_on_free_ports
from minipacs.settings import Settings


def main() -> None:
    """Start and stop in one folder; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = settings_on_free_ports(Path(home))
        times = [time_start_and_stop(settings) for _ in range(arguments.rounds)]
    print("| start | ready after, s | stopped after, s |\n|---|---:|---:|")
    for number, (ready, stopped) in enumerate(times, 1):
        print(f"| {'first, empty folder' if number == 1 else f'again ({number})'} | {ready:.1f} | {stopped:.1f} |")


def time_start_and_stop(settings: Settings) -> tuple[float, float]:
    """Start and stop the product: seconds until the word `ready`, and seconds from Ctrl+C to its end."""
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


if __name__ == "__main__":
    main()
