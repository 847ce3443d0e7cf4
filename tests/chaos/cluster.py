"""The parts of a cluster beside `minipacs up`: a PostgreSQL, a Dask scheduler, and two workers of other machines.

The workers have host names of their own (a UTS namespace), so that the job service cannot look at their
processes and must wait for their leases. Each part is started again when it ends, as a supervisor does.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from chaos.fault_injector import Fault
from minipacs.settings import Settings
from ports import free_ports
from postgres import BINARIES, USER
from waiting import PATIENCE_S, until

RESTART_DELAY_S = 0.5


class Postgres:
    """A PostgreSQL of its own, on disk as in production (fsync), that can be killed."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="minipacs-chaos-postgres-"))
        shutil.chown(self.folder, USER, USER)
        (self.port,) = free_ports(1)
        self.url = f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/postgres"
        self._data = str(self.folder / "data")
        self._command("initdb", "-D", self._data, "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C.UTF-8")

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        wait = ("-w", "-t", f"{PATIENCE_S:.0f}")
        self._command("pg_ctl", "-D", self._data, *wait, "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """Stop it and delete its folder."""
        self._command("pg_ctl", "-D", self._data, "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill_fault(self, seconds: float) -> Fault:
        """A fault: `kill -9` of the postmaster, which is started again after `seconds`."""

        def inject() -> bool:
            postmaster = psutil.Process(int((self.folder / "data/postmaster.pid").read_text().split()[0]))
            backends = postmaster.children()
            postmaster.kill()
            psutil.wait_procs([postmaster, *backends], timeout=PATIENCE_S)
            threading.Event().wait(seconds)
            self.start()
            return True

        return inject

    def _command(self, name: str, *arguments: str) -> None:
        command = ["runuser", "-u", USER, "--", str(BINARIES[-1] / name), *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a PostgreSQL; stop and delete it at the end."""
    database = Postgres()
    database.start()
    try:
        yield database
    finally:
        database.stop()


class Pool:
    """A scheduler and workers, each started again when it ends."""

    def __init__(self, settings: Settings, workers: int) -> None:
        self._environment = {**os.environ, **settings.as_environment(), "TMPDIR": str(settings.home / "tmp")}
        self._environment["DASK_TEMPORARY_DIRECTORY"] = str(settings.home / "pool")
        self._log = settings.home / "pool.log"
        worker = f"exec {sys.executable} -m minipacs.cli worker"
        self._commands = {
            "scheduler": [sys.executable, "-m", "minipacs.cli", "scheduler"],
            **{
                f"worker {number}": ["unshare", "--uts", "sh", "-c", f"hostname chaos-{number}; {worker}"]
                for number in range(workers)
            },
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stop = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    def __enter__(self) -> "Pool":
        self._log.parent.mkdir(parents=True, exist_ok=True)
        (self._log.parent / "tmp").mkdir(exist_ok=True)
        self._supervisor.start()
        until(lambda: self._running.keys() == self._commands.keys())
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._supervisor.join()
        for process in self._running.values():
            process.kill()
            process.wait()

    def _supervise(self) -> None:
        while not self._stop.wait(RESTART_DELAY_S):
            for name, command in self._commands.items():
                if name not in self._running or self._running[name].poll() is not None:
                    self._running[name] = _start_process(command, self._environment, self._log)


def _start_process(command: list[str], environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as stream:
        return subprocess.Popen(command, env=dict(environment), stdout=stream, stderr=stream)
