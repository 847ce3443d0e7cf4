"""How fast C-STORE is, and what our plugin and TCP_NODELAY make of it; variants in turn, in one run.

    .venv/bin/python -m benchmarks.bench_ingest [--rounds N] [--folder FOLDER] [--earlier PLUGIN]

Each run stores the same study by `storescu` (DCMTK) over one association into a fresh Orthanc. The
sender's environment stays as the system gives it; TCP_NODELAY is set for Orthanc alone. `--earlier` compares with the
`plugin.py` of another version of ours.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lib.free_ports import settings_on_free_ports
from minipacs.archive import local_orthanc
from minipacs.archive.client import Archive
from minipacs.errors import ArchiveError
from minipacs.jobs.stable_study_listener import StableStudyListener
from minipacs.local.phantom import write_chest_ct
from minipacs.secrets import orthanc_password
from minipacs.settings import Settings


@dataclass(frozen=True)
class Variant:
    """One way of starting Orthanc."""

    name: str
    plugin: bool
    nodelay: bool
    script: Path | None = None
    """The plugin's; None for ours."""


VARIANTS = (
    Variant("no plugin, TCP_NODELAY=1", plugin=False, nodelay=True),
    Variant("our plugin, TCP_NODELAY=1", plugin=True, nodelay=True),
    Variant("our plugin, without TCP_NODELAY", plugin=True, nodelay=False),
)


def main() -> None:
    """Run the rounds; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="a study to send (default: the synthetic chest CT, 3 times)")
    parser.add_argument("--earlier", type=Path, help="plugin.py of another version, beside the files that it imports")
    arguments = parser.parse_args()
    variants = list(VARIANTS)
    if arguments.earlier is not None:
        earlier = arguments.earlier.resolve(strict=True)
        variants.append(Variant("the earlier plugin, TCP_NODELAY=1", plugin=True, nodelay=True, script=earlier))
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder
        if folder is None:
            folder = Path(temporary)
            for number in range(3):
                write_chest_ct(folder / str(number), patient_id=f"BENCH-{number}")
        instances = sum(1 for p in folder.rglob("*") if p.is_file())
        rates: dict[str, list[float]] = {v.name: [] for v in variants}
        for number in range(arguments.rounds):
            for variant in random.Random(number).sample(variants, len(variants)):
                rates[variant.name].append(instances / time_storescu(variant, folder))
    print(format_table(rates, instances, arguments.rounds))


def time_storescu(variant: Variant, folder: Path) -> float:
    """Seconds that storescu takes to send the folder to a fresh Orthanc."""
    with run_orthanc(variant) as settings:
        command = [
            "storescu",
            "-R",
            "-aec",
            settings.aet,
            "127.0.0.1",
            str(settings.dicom_port),
            "+sd",
            "+r",
            str(folder),
        ]
        environment = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        return time.perf_counter() - started


@contextmanager
def run_orthanc(variant: Variant) -> Iterator[Settings]:
    """A fresh Orthanc with a listener for its notifications, stopped and removed afterwards."""
    home = Path(tempfile.mkdtemp(prefix="minipacs-ingest-"))
    settings = settings_on_free_ports(home, stable_age_s=1)
    command = local_orthanc.prepare_start_command(settings)
    machine = Path(command[1], "machine.json")
    configuration = json.loads(machine.read_text())
    if not variant.plugin:
        configuration["Plugins"] = [p for p in configuration["Plugins"] if "Python" not in p]
        del configuration["PythonScript"]
    elif variant.script is not None:
        configuration["PythonScript"] = str(variant.script)
    machine.write_text(json.dumps(configuration))
    environment = {**os.environ, **settings.as_environment(), **local_orthanc.ENVIRONMENT}
    if not variant.nodelay:
        environment.pop("TCP_NODELAY")
    listener = StableStudyListener(settings.stable_study_host_and_port, orthanc_password(settings))
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    archive = Archive(settings)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                archive.read_version()
                break
            except ArchiveError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield settings
    finally:
        archive.close()
        process.terminate()
        process.wait()
        listener.close()
        shutil.rmtree(home)


def format_table(rates: dict[str, list[float]], instances: int, rounds: int) -> str:
    """Medians, ranges, and ratios to the first row."""
    first = statistics.median(next(iter(rates.values())))
    lines = [
        f"storescu, 1 association, {instances} instances, {rounds} rounds in random turn, fresh storage each",
        "",
        "| Orthanc | median, instances/s | range | ratio |",
        "|---|---:|---:|---:|",
    ]
    for name, values in rates.items():
        median = statistics.median(values)
        lines.append(f"| {name} | {median:.0f} | {min(values):.0f}–{max(values):.0f} | {median / first:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
