"""Nobody but the product itself can reach the pool: whoever can connect to it can have any code run."""

import asyncio
import os
import pickle
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Security
from distributed.comm import connect

from minipacs.certificates.authority import create_authority, issue_certificate
from minipacs.errors import SettingsError
from minipacs.jobs.pool import EmbeddedPool
from minipacs.jobs.pool_security import load_pool_security
from minipacs.settings import Settings
from waiting import until

pytestmark = pytest.mark.filterwarnings("ignore:.*socket.socket.*:pytest.PytestUnraisableExceptionWarning")
ATTACK_TIMEOUT_S = 3.0
"""How long an attacker tries again; longer makes the test slower, not stricter."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def pool(home: Path) -> Iterator[EmbeddedPool]:
    pool = EmbeddedPool(Settings.from_env({"MINIPACS_HOME": str(home), "MINIPACS_WORKERS": "2"}))
    with closing(pool):
        until(lambda: pool.count_slots() == {"cpu": 2})
        yield pool


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Security:
    """TLS material of somebody else: a certificate with the same names, by another authority."""
    folder = tmp_path_factory.mktemp("stranger")
    authority = create_authority("minipacs embedded pool", timedelta(days=1))
    member = issue_certificate(authority, "minipacs embedded pool member", ["127.0.0.1"], timedelta(days=1))
    (folder / "certificate.pem").write_bytes(member.certificate_pem)
    (folder / "key.pem").write_bytes(member.key_pem)
    (folder / "authority.pem").write_bytes(authority.certificate_pem)
    return Security(
        require_encryption=True,
        tls_ca_file=str(folder / "authority.pem"),
        tls_client_cert=str(folder / "certificate.pem"),
        tls_client_key=str(folder / "key.pem"),
    )


def listening_addresses() -> set[tuple[str, int]]:
    """Address and port of every TCP and UDP socket at which this process or one of its children receives."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return {
        tuple(connection.laddr)
        for process in processes
        for connection in process.net_connections("inet")
        if connection.laddr and not connection.raddr
    }


def addresses_of_this_machine() -> list[str]:
    """Its IPv4 addresses, loopback included."""
    return [each.address for card in psutil.net_if_addrs().values() for each in card if each.family.name == "AF_INET"]


def connection_arguments(security: Security, *, has_certificate: bool = True) -> Mapping[str, Any]:
    """What an attacker connects with: who serves is not verified."""
    arguments = dict(security.get_connection_args("client"))
    if not has_certificate:
        arguments["ssl_context"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    arguments["ssl_context"].check_hostname = False
    arguments["ssl_context"].verify_mode = 0
    return arguments


async def run_code_at(address: str, arguments: Mapping[str, Any], mark: Path) -> str:
    """Have `mark` created by the process at this address, as Dask's own protocol does; how that ended."""
    call = {"function": pickle.dumps(os.mkdir), "args": pickle.dumps((str(mark),)), "kwargs": None}
    outcome = "answered"
    for operation in ("run", "run_function"):  # of a worker, of a scheduler
        try:
            peer = await connect(address, timeout=ATTACK_TIMEOUT_S, **arguments)
            await peer.write({"op": operation, "reply": True, **call})
            await asyncio.wait_for(peer.read(), ATTACK_TIMEOUT_S)
            peer.abort()
        except (OSError, TimeoutError) as error:
            outcome = type(error).__name__
        if mark.exists():
            return "code was run"
    return outcome


def attack(attempts: Mapping[str, tuple[str, Mapping[str, Any]]], folder: Path) -> dict[str, str]:
    """Make every attempt (address, connection arguments) at once; its outcome by its name."""

    async def attack_all() -> list[str]:
        return await asyncio.gather(
            *(run_code_at(*attempt, folder / str(number)) for number, attempt in enumerate(attempts.values()))
        )

    folder.mkdir(exist_ok=True)
    return dict(zip(attempts, asyncio.run(attack_all()), strict=True))


def test_the_pool_listens_on_loopback_alone(pool: EmbeddedPool) -> None:
    assert {host for host, _ in listening_addresses()} == {"127.0.0.1"}
    assert len(listening_addresses()) == 3, "a scheduler and two workers: nothing else, no dashboard"


def test_the_holder_of_the_pools_key_can_have_code_run_so_that_the_attack_is_one(
    pool: EmbeddedPool, home: Path, tmp_path: Path
) -> None:
    own = connection_arguments(pool.client.security)
    outcomes = attack({f"{port}": (f"tls://127.0.0.1:{port}", own) for _, port in listening_addresses()}, tmp_path)
    assert set(outcomes.values()) == {"code was run"}, outcomes


def test_nobody_without_the_pools_certificate_can_have_code_run(
    pool: EmbeddedPool, stranger: Security, tmp_path: Path
) -> None:
    credentials: dict[str, tuple[str, Mapping[str, Any]]] = {
        "plain": ("tcp", {}),
        "TLS without a certificate": ("tls", connection_arguments(stranger, has_certificate=False)),
        "TLS with another authority's certificate": ("tls", connection_arguments(stranger)),
    }
    attempts = {
        f"{host}:{port} {name}": (f"{protocol}://{host}:{port}", arguments)
        for host in addresses_of_this_machine()
        for _, port in listening_addresses()
        for name, (protocol, arguments) in credentials.items()
    }
    outcomes = attack(attempts, tmp_path / "marks")
    assert not list((tmp_path / "marks").iterdir())
    assert not {"code was run", "answered"} & set(outcomes.values()), outcomes
    assert pool.client.submit(pow, 2, 10, resources={"cpu": 1}).result() == 1024


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
