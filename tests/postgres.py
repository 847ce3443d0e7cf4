"""A PostgreSQL cluster of the tests' own: a temporary folder, a free port, stopped at the end."""

import atexit
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
import pytest

from minipacs.database import Database
from ports import free_ports
from waiting import PATIENCE_S

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
USER = "postgres"
numbers = itertools.count(1)


@cache
def cluster() -> str:
    """URL of a running cluster, without the database's name; started at the first call."""
    if not BINARIES:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="minipacs-postgres-"))
    (port,) = free_ports(1)
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, USER, USER)
    data = str(folder / "data")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    _command("initdb", "-D", data, "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C.UTF-8")
    _command("pg_ctl", "-D", data, "-w", "-t", f"{PATIENCE_S:.0f}", "-l", str(folder / "log"), "-o", options, "start")

    def stop() -> None:
        _command("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return f"{USER}@127.0.0.1:{port}"


def _command(name: str, *arguments: str) -> None:
    user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    command = [*user, str(BINARIES[-1] / name), *arguments]
    subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def new_url(kind: str, folder: Path) -> str:
    """URL of a new, empty database of this kind: sqlite or postgresql."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'catalogue.sqlite'}"
    address, name = cluster(), f"test_{next(numbers)}"
    with psycopg.connect(f"postgresql://{address}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"postgresql+psycopg://{address}/{name}"


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[Database]:
    """A new database with every table."""
    database = Database(new_url(kind, folder))
    database.upgrade_schema()
    try:
        yield database
    finally:
        database.close()
