"""Fixtures for every box: a database in a folder of its own, and one running product for the session."""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from minipacs.database import Database
from stack import RunningStack, running
from waiting import SCALE

ONE_PRODUCT = ("tests/security/", "tests/integration/", "tests/browser/", "tests/chaos/")
"""Tests that start the whole product: one after the other, beside everything else (`-n 2`)."""


class OneProduct(LoadScopeScheduling):
    """Two cores carry one product and one browser at a time; other tests stay together by file."""

    def _split_scope(self, nodeid: str) -> str:
        return "product" if nodeid.startswith(ONE_PRODUCT) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneProduct:
    """Instead of `--dist loadgroup`, which puts nothing together with pytest 9.2 and pytest-xdist 3.8."""
    return OneProduct(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """A slower machine has more time for a whole test too (pytest-timeout)."""
    if config.getoption("timeout", None) is None and SCALE != 1:
        config.option.timeout = SCALE * float(config.getini("timeout"))


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A command that a test runs in this process sets logging and umask; the next test must not find them so."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    umask = os.umask(0)
    os.umask(umask)
    yield
    os.umask(umask)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A fresh SQLite database with every table."""
    database = Database(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    database.upgrade_schema()
    yield database
    database.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The whole product, started once; skipped with a reason without Orthanc."""
    if shutil.which("Orthanc") is None:
        pytest.skip("Orthanc is not installed")
    with running(tmp_path_factory.mktemp("stack")) as product:
        yield product
