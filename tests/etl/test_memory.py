"""Memory does not grow with the number of files."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def peak_kib(number: int) -> int:
    """Peak resident memory of a process that catalogues this many headers."""
    command = [sys.executable, "-m", "benchmarks.bench_etl", "--peak", str(number)]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def test_ten_times_the_headers_need_no_more_memory_than_a_fifth_above() -> None:
    assert peak_kib(10_000) <= 1.2 * peak_kib(1_000)
