"""Environments of a run: one machine (SQLite, embedded pool), or a cluster (PostgreSQL, scheduler, two workers)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.cluster import Pool, running_postgres
from chaos.fault_injector import CLUSTER_PARTS, LOCAL_PARTS, Fault, kill_faults, stopped_worker_fault
from chaos.isolation import can_isolate, full_disk_fault, isolated_disk, isolated_network, network_cut_fault
from chaos.product import Product
from minipacs.settings import Settings
from ports import free_ports
from stack import settings_for

LEASE_S = 5
DISK_MB = 1500
NETWORK_CUT_S = 2.0
FULL_DISK_S = 3.0
DATABASE_DOWN_S = 2.0
ATTEMPTS = 100
"""Each fault may cost an attempt, and there are many faults."""


@dataclass(frozen=True)
class Environment:
    """Settings of the product, and the faults that can be injected there."""

    settings: Settings
    faults: Callable[[Product], Mapping[str, Fault]]


@contextmanager
def one_machine(home: Path, seed: int, **changes: object) -> Iterator[Environment]:
    """SQLite and the embedded pool; keywords are settings."""
    with ExitStack() as stack:
        machine_faults = _isolate_machine(stack, home)
        settings = _settings(home, **changes)

        def faults(product: Product) -> Mapping[str, Fault]:
            stopped = {"stopped worker": stopped_worker_fault(product, LEASE_S + 3)}
            return {**kill_faults(product, seed, LOCAL_PARTS), **stopped, **machine_faults}

        yield Environment(settings, faults)


@contextmanager
def cluster(home: Path, seed: int, *, workers: int = 2, **changes: object) -> Iterator[Environment]:
    """PostgreSQL, a Dask scheduler, workers with host names of their own; keywords are settings."""
    with ExitStack() as stack:
        machine_faults = _isolate_machine(stack, home)
        database = stack.enter_context(running_postgres())
        (port,) = free_ports(1)
        settings = _settings(home, database_url=database.url, scheduler=f"tcp://127.0.0.1:{port}", **changes)
        stack.enter_context(Pool(settings, workers))

        def faults(product: Product) -> Mapping[str, Fault]:
            cluster_faults = {
                "stopped worker": stopped_worker_fault(product, LEASE_S + 3, "remote worker"),
                "PostgreSQL": database.kill_fault(DATABASE_DOWN_S),
            }
            return {**kill_faults(product, seed, CLUSTER_PARTS), **cluster_faults, **machine_faults}

        yield Environment(settings, faults)


def _settings(home: Path, **changes: object) -> Settings:
    return settings_for(home, **{"attempts": ATTEMPTS, "lease_s": LEASE_S, "engine_limit_s": 900, **changes})


def _isolate_machine(stack: ExitStack, home: Path) -> dict[str, Fault]:
    """Give the run a network and a disk of its own, where that is allowed; the faults of both."""
    if not can_isolate():
        return {}
    stack.enter_context(isolated_network())
    disk = stack.enter_context(isolated_disk(home, DISK_MB))
    return {"network cut": network_cut_fault(NETWORK_CUT_S), "disk full": full_disk_fault(disk, FULL_DISK_S)}
