"""The embedded pool is full again after whatever happened to its workers."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from minipacs.jobs.pool import EmbeddedPool
from minipacs.settings import Settings
from stack import command_line
from waiting import PATIENCE_S, until

pytestmark = pytest.mark.filterwarnings("ignore:.*socket.socket.*:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[EmbeddedPool]:
    pool = EmbeddedPool(Settings.from_env({"MINIPACS_HOME": str(tmp_path), "MINIPACS_WORKERS": "2"}))
    yield pool
    pool.close()


def workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "minipacs.jobs.worker" in command_line(child)]


def is_full(pool: EmbeddedPool) -> bool:
    pool.maintain()
    return len(pool.client.scheduler_info(n_workers=-1)["workers"]) == 2 == len(workers())


def test_killed_workers_are_replaced_also_while_they_start(pool: EmbeddedPool) -> None:
    until(lambda: is_full(pool))
    for process in workers():
        process.kill()
    until(lambda: not workers())
    pool.maintain()
    for process in workers():  # these have hardly begun
        process.kill()
    until(lambda: is_full(pool))
    assert pool.client.submit(pow, 2, 10, resources={"cpu": 1}).result(PATIENCE_S) == 1024


def test_a_closed_pool_leaves_no_process(pool: EmbeddedPool) -> None:
    until(lambda: is_full(pool))
    left = workers()
    pool.close()
    assert not any(process.is_running() and process.status() != "zombie" for process in left)
