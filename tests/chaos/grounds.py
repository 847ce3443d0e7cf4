"""Where the blows fall: one machine with SQLite and the embedded pool, or PostgreSQL, a scheduler and two workers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.cluster import Pool, postgres
from chaos.killer import LOCAL, REMOTE, Blow, kills, stop_worker
from chaos.machine import cut_network, fill_disk, is_ours, own_disk, own_network
from chaos.product import Product
from minipacs.settings import Settings
from ports import free_ports
from stack import settings_for

LEASE_S = 5
DISK_MB = 1500
CUT_S = 2.0
FULL_S = 3.0
DATABASE_AWAY_S = 2.0
ATTEMPTS = 100
"""Each blow costs an attempt, and the blows are many."""


@dataclass(frozen=True)
class Ground:
    """Settings of the product, and every blow that can fall there."""

    settings: Settings
    blows: Callable[[Product], Mapping[str, Blow]]


@contextmanager
def one_machine(home: Path, seed: int, **changes: object) -> Iterator[Ground]:
    """SQLite and the embedded pool; keywords are settings."""
    with ExitStack() as stack:
        machine = _machine(stack, home)
        settings = _settings(home, **changes)

        def blows(product: Product) -> Mapping[str, Blow]:
            stopped = {"stopped worker": stop_worker(product, LEASE_S + 3)}
            return {**kills(product, seed, LOCAL), **stopped, **machine}

        yield Ground(settings, blows)


@contextmanager
def cluster(home: Path, seed: int, *, workers: int = 2, **changes: object) -> Iterator[Ground]:
    """PostgreSQL, a Dask scheduler, workers with host names of their own; keywords are settings."""
    with ExitStack() as stack:
        machine = _machine(stack, home)
        database = stack.enter_context(postgres())
        (port,) = free_ports(1)
        settings = _settings(home, database_url=database.url, scheduler=f"tcp://127.0.0.1:{port}", **changes)
        stack.enter_context(Pool(settings, workers))

        def blows(product: Product) -> Mapping[str, Blow]:
            more = {
                "stopped worker": stop_worker(product, LEASE_S + 3, "remote worker"),
                "PostgreSQL": database.kill(DATABASE_AWAY_S),
            }
            return {**kills(product, seed, REMOTE), **more, **machine}

        yield Ground(settings, blows)


def _settings(home: Path, **changes: object) -> Settings:
    return settings_for(home, **{"attempts": ATTEMPTS, "lease_s": LEASE_S, "engine_limit_s": 900, **changes})


def _machine(stack: ExitStack, home: Path) -> dict[str, Blow]:
    """A network and a disk of our own, where that is allowed."""
    if not is_ours():
        return {}
    stack.enter_context(own_network())
    disk = stack.enter_context(own_disk(home, DISK_MB))
    return {"network cut": cut_network(CUT_S), "disk full": fill_disk(disk, FULL_S)}
