"""An attack on Dask's processes: connect as a stranger does, and have code run there by Dask's own protocol."""

import asyncio
import gc
import os
import pickle
import ssl
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from distributed import Security
from distributed.comm import connect

from minipacs.certificates.authority import create_authority, issue_certificate

ATTACK_TIMEOUT_S = 3.0
"""How long an attacker tries again; longer makes the test slower, not stricter."""
CODE_WAS_RUN, ANSWERED = "code was run", "answered"


def addresses_of_this_machine() -> list[str]:
    """Its IPv4 addresses, loopback included."""
    return [each.address for card in psutil.net_if_addrs().values() for each in card if each.family.name == "AF_INET"]


def make_stranger(folder: Path) -> Security:
    """TLS material of somebody else: a certificate with the same names, by another authority."""
    authority = create_authority("minipacs embedded pool", timedelta(days=1))
    member = issue_certificate(authority, "minipacs embedded pool member", ["127.0.0.1"], timedelta(days=1))
    folder.mkdir()
    (folder / "certificate.pem").write_bytes(member.certificate_pem)
    (folder / "key.pem").write_bytes(member.key_pem)
    (folder / "authority.pem").write_bytes(authority.certificate_pem)
    return Security(
        require_encryption=True,
        tls_ca_file=str(folder / "authority.pem"),
        tls_client_cert=str(folder / "certificate.pem"),
        tls_client_key=str(folder / "key.pem"),
    )


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
    outcome = ANSWERED
    for operation in ("run", "run_function"):  # of a worker, of a scheduler
        try:
            peer = await connect(address, timeout=ATTACK_TIMEOUT_S, **arguments)
            await peer.write({"op": operation, "reply": True, **call})
            await asyncio.wait_for(peer.read(), ATTACK_TIMEOUT_S)
            peer.abort()
        except (OSError, TimeoutError) as error:
            outcome = type(error).__name__
        if mark.exists():
            return CODE_WAS_RUN
    return outcome


def attack(attempts: Mapping[str, tuple[str, Mapping[str, Any]]], folder: Path) -> dict[str, str]:
    """Make every attempt (address, connection arguments) at once; its outcome by its name."""

    async def attack_all() -> list[str]:
        return await asyncio.gather(
            *(run_code_at(*attempt, folder / str(number)) for number, attempt in enumerate(attempts.values()))
        )

    folder.mkdir(exist_ok=True)
    with warnings.catch_warnings(), ThreadPoolExecutor(1) as thread:  # Playwright's loop may run in the main thread
        warnings.simplefilter("ignore", ResourceWarning)  # Dask leaves refused sockets to the garbage collector
        outcomes = thread.submit(lambda: asyncio.run(attack_all())).result()
        gc.collect()
    return dict(zip(attempts, outcomes, strict=True))


def attack_as_strangers(ports: Iterable[int], folder: Path) -> dict[str, str]:
    """Attack these ports at every address of this machine: plain, without a certificate, with another's."""
    stranger = make_stranger(folder / "stranger")
    credentials: dict[str, tuple[str, Mapping[str, Any]]] = {
        "plain": ("tcp", {}),
        "TLS without a certificate": ("tls", connection_arguments(stranger, has_certificate=False)),
        "TLS with another authority's certificate": ("tls", connection_arguments(stranger)),
    }
    attempts = {
        f"{host}:{port} {name}": (f"{protocol}://{host}:{port}", arguments)
        for host in addresses_of_this_machine()
        for port in ports
        for name, (protocol, arguments) in credentials.items()
    }
    return attack(attempts, folder / "marks")
