"""The pool of a cluster talks to holders of its certificates alone, and is not started without them on a network."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from minipacs import cli
from minipacs.child_process import ChildProcess
from minipacs.errors import PoolUnavailable
from minipacs.jobs.pool import RemotePool
from minipacs.settings import Settings
from pool_attack import ANSWERED, CODE_WAS_RUN, attack_as_strangers
from ports import free_ports
from waiting import PATIENCE_S, until


def certificate_settings(folder: Path) -> dict[str, str]:
    """The settings of a member of the pool whose files `minipacs certificates cluster` wrote here."""
    return {
        "MINIPACS_SCHEDULER_CERTIFICATE": str(folder / "cluster" / "member.crt"),
        "MINIPACS_SCHEDULER_KEY": str(folder / "cluster" / "member.key"),
        "MINIPACS_SCHEDULER_TRUSTED_CERTIFICATES": str(folder / "cluster" / "authority.crt"),
    }


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home, (port,) = tmp_path_factory.mktemp("home"), free_ports(1)
    assert cli.main(["certificates", "cluster", "--folder", str(home / "certificates")]) == 0
    return Settings.from_env(
        {
            "MINIPACS_HOME": str(home),
            "MINIPACS_SCHEDULER": f"tls://127.0.0.1:{port}",
            **certificate_settings(home / "certificates"),
        }
    )


@pytest.fixture(scope="module")
def processes(settings: Settings) -> Iterator[list[psutil.Process]]:
    """A scheduler that listens on every interface, and two workers."""
    commands = [["scheduler", "--host", "0.0.0.0"], ["worker"], ["worker"]]
    children = [
        ChildProcess(
            [sys.executable, "-m", "minipacs.cli", *command],
            settings.as_environment(),
            settings.home / "log" / f"{number}.log",
        )
        for number, command in enumerate(commands)
    ]
    for child in children:
        child.start()
    try:
        yield [psutil.Process(child.pid) for child in children]
    finally:
        for child in children:
            child.kill()


def find_listeners(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    return {tuple(each.laddr) for one in processes for each in one.net_connections("inet") if each.status == "LISTEN"}


def test_members_work_together_and_strangers_can_do_nothing(
    settings: Settings, processes: list[psutil.Process], tmp_path: Path
) -> None:
    until(lambda: has_two_workers(settings), what="two workers")
    listeners = find_listeners(processes)
    assert len(listeners) == 3, "each process has one port"
    outcomes = attack_as_strangers([port for _, port in listeners], tmp_path)
    assert not {CODE_WAS_RUN, ANSWERED} & set(outcomes.values()), outcomes

    with closing(RemotePool(settings)) as pool:
        first, second = pool.client.scheduler_info(n_workers=-1)["workers"]
        there = pool.client.submit(pow, 2, 10, workers=[first], resources={"cpu": 1})
        here = pool.client.submit(sum, [there, 1], workers=[second], resources={"cpu": 1})
        assert here.result(PATIENCE_S) == 1025, "from one worker to the other"


def test_a_client_does_not_talk_to_a_scheduler_of_another_authority(
    settings: Settings, processes: list[psutil.Process], tmp_path: Path
) -> None:
    until(lambda: has_two_workers(settings), what="two workers")
    assert cli.main(["certificates", "cluster", "--folder", str(tmp_path)]) == 0
    stranger = Settings.from_env({**settings.as_environment(), **certificate_settings(tmp_path)})
    with pytest.raises(PoolUnavailable, match="No Dask scheduler answers"):
        RemotePool(stranger)


def has_two_workers(settings: Settings) -> bool:
    try:
        with closing(RemotePool(settings)) as pool:
            return pool.count_slots() == {"cpu": 2}
    except PoolUnavailable:
        return False


@pytest.mark.parametrize(
    ("command", "scheduler"),
    [
        (["scheduler", "--host", "0.0.0.0"], "tcp://127.0.0.1:9"),
        (["scheduler"], "tcp://192.0.2.7:9"),
        (["worker"], "tcp://192.0.2.7:9"),
        (["worker", "--host", "0.0.0.0"], "tcp://127.0.0.1:9"),
        (["service"], "tcp://192.0.2.7:9"),
        (["up"], "tcp://192.0.2.7:9"),
        (["etl", "."], "tcp://192.0.2.7:9"),
    ],
)
def test_no_part_uses_a_pool_without_tls_on_a_network(command: list[str], scheduler: str, tmp_path: Path) -> None:
    environment = {**os.environ, "MINIPACS_HOME": str(tmp_path), "MINIPACS_SCHEDULER": scheduler}
    done = subprocess.run(
        [sys.executable, "-m", "minipacs.cli", *command],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "lets everybody who reaches it run code" in done.stderr
    assert "Traceback" not in done.stderr


def test_certificates_that_are_missing_are_said(tmp_path: Path) -> None:
    environment = {**os.environ, "MINIPACS_HOME": str(tmp_path), "MINIPACS_SCHEDULER": "tls://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "minipacs.cli", "worker"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "MINIPACS_SCHEDULER_CERTIFICATE" in done.stderr
