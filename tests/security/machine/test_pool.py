"""Nobody but the product itself can reach the pool: whoever can connect to it can have any code run."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from minipacs.errors import SettingsError
from minipacs.jobs.dask_nodes import MAX_HANDSHAKES
from minipacs.jobs.pool import EmbeddedPool
from minipacs.jobs.pool_security import load_pool_security
from minipacs.settings import Settings
from pool_attack import ANSWERED, CODE_WAS_RUN, attack, attack_as_strangers, connection_arguments
from waiting import PATIENCE_S, until


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def other_children() -> set[psutil.Process]:
    """Processes that other tests started in this one: a browser, a whole product."""
    return set(psutil.Process().children(recursive=True))


@pytest.fixture(scope="module")
def other_addresses() -> set[tuple[str, int]]:
    """Where servers of other tests in this process listen before the pool is there."""
    return listening_addresses({psutil.Process()})


@pytest.fixture(scope="module")
def addresses(
    other_children: set[psutil.Process], other_addresses: set[tuple[str, int]], pool: EmbeddedPool
) -> set[tuple[str, int]]:
    """Where the pool listens: in this process and in those that it has started."""
    children = set(psutil.Process().children(recursive=True)) - other_children
    return listening_addresses({psutil.Process()} | children) - other_addresses


@pytest.fixture(scope="module")
def pool(
    home: Path, other_children: set[psutil.Process], other_addresses: set[tuple[str, int]]
) -> Iterator[EmbeddedPool]:
    pool = EmbeddedPool(Settings.from_env({"MINIPACS_HOME": str(home), "MINIPACS_WORKERS": "2"}))
    with closing(pool):
        until(lambda: pool.count_slots() == {"cpu": 2})
        yield pool


def listening_addresses(processes: set[psutil.Process]) -> set[tuple[str, int]]:
    """Address and port of every TCP and UDP socket at which one of these processes receives."""
    return {
        tuple(connection.laddr)
        for process in processes
        for connection in process.net_connections("inet")
        if connection.laddr and not connection.raddr
    }


def test_the_pool_listens_on_loopback_alone(addresses: set[tuple[str, int]]) -> None:
    assert {host for host, _ in addresses} == {"127.0.0.1"}
    assert len(addresses) == 3, "a scheduler and two workers: nothing else, no dashboard"


def test_the_holder_of_the_pools_key_can_have_code_run_so_that_the_attack_is_one(
    pool: EmbeddedPool, addresses: set[tuple[str, int]], tmp_path: Path
) -> None:
    own = connection_arguments(pool.client.security)
    outcomes = attack({f"{port}": (f"tls://127.0.0.1:{port}", own) for _, port in addresses}, tmp_path)
    assert set(outcomes.values()) == {CODE_WAS_RUN}, outcomes


def test_nobody_without_the_pools_certificate_can_have_code_run(
    pool: EmbeddedPool, addresses: set[tuple[str, int]], tmp_path: Path
) -> None:
    outcomes = attack_as_strangers([port for _, port in addresses], tmp_path)
    assert not {CODE_WAS_RUN, ANSWERED} & set(outcomes.values()), outcomes
    assert pool.client.submit(pow, 2, 10, resources={"cpu": 1}).result() == 1024


def test_connections_that_show_no_certificate_use_up_nothing(
    pool: EmbeddedPool, addresses: set[tuple[str, int]]
) -> None:
    with ExitStack() as opened:
        idle: list[socket.socket] = []
        for _, port in addresses:
            for _ in range(2 * MAX_HANDSHAKES):
                idle.append(opened.enter_context(socket.create_connection(("127.0.0.1", port))))
        until(lambda: sum(is_open(one) for one in idle) <= 3 * MAX_HANDSHAKES, what="the end of idle connections")
        assert pool.client.submit(pow, 3, 4, resources={"cpu": 1}).result(PATIENCE_S) == 81


def is_open(connection: socket.socket) -> bool:
    """Whether the other end has not closed it."""
    try:
        return bool(connection.recv(1, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def test_only_the_owner_can_read_the_pools_key_and_it_ends_with_the_pool(tmp_path: Path) -> None:
    pool = EmbeddedPool(Settings.from_env({"MINIPACS_HOME": str(tmp_path), "MINIPACS_WORKERS": "1"}))
    with closing(pool):
        keys = [file for file in tmp_path.rglob("*") if file.is_file() and b"PRIVATE KEY" in file.read_bytes()]
        assert [file.name for file in keys] == ["pool.key"], "the authority's key is nowhere"
        assert (keys[0].stat().st_mode & 0o777, keys[0].parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert not keys[0].exists()


def test_a_scheduler_without_tls_is_refused_outside_loopback_unless_the_network_is_trusted() -> None:
    outside = Settings.from_env({"MINIPACS_SCHEDULER": "tcp://192.0.2.7:8786"})
    with pytest.raises(SettingsError, match="run code"):
        load_pool_security(outside)
    assert load_pool_security(replace(outside, scheduler_network_is_trusted=1)) is None
    assert load_pool_security(replace(outside, scheduler="tcp://127.0.0.1:8786")) is None
