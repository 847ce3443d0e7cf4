"""Work that does nothing, or sleeps: what benchmarks/bench_jobs.py installs as if it came from elsewhere."""

import time
from pathlib import Path
from typing import Any

METADATA = "Metadata-Version: 2.1\nName: minipacs-benchmark-work\nVersion: 0\n"
ENTRY_POINT = "[minipacs.work]\nbenchmark = idle_work\n"
KIND = "benchmark"
PROGRESS_S = 0.05


def install_package(folder: Path) -> None:
    """Install this module as a distribution in `folder`, which then belongs into PYTHONPATH."""
    information = folder / "minipacs_benchmark_work-0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(METADATA)
    (information / "entry_points.txt").write_text(ENTRY_POINT)
    (folder / "idle_work.py").write_text(Path(__file__).read_text())


def orders(_study: object, _settings: object) -> list[Any]:
    """No study needs it."""
    return []


def run(task: Any) -> dict[str, Any]:
    """Sleep for `seconds`, reporting progress."""
    ends = time.monotonic() + float(task.args.get("seconds", 0))
    while time.monotonic() < ends:
        task.progress("sleeping")
        time.sleep(PROGRESS_S)
    return {}
