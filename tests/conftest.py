"""Fixtures for every box: a database in a folder of its own, and one running product for the session."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from minipacs.database import Database
from stack import RunningStack, running

ONE_PRODUCT = ("tests/integration/", "tests/browser/", "tests/chaos/")
"""Tests that start the whole product: one after the other, beside everything else (`-n 2`)."""


class OneProduct(LoadScopeScheduling):
    """Two cores carry one product and one browser at a time; other tests stay together by file."""

    def _split_scope(self, nodeid: str) -> str:
        return "product" if nodeid.startswith(ONE_PRODUCT) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneProduct:
    """Instead of `--dist loadgroup`, which puts nothing together with pytest 9.2 and pytest-xdist 3.8."""
    return OneProduct(config, log)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A fresh SQLite database with every table."""
    database = Database(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    database.create()
    yield database
    database.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The whole product, started once; skipped with a reason without Orthanc."""
    if shutil.which("Orthanc") is None:
        pytest.skip("Orthanc is not installed")
    with running(tmp_path_factory.mktemp("stack")) as product:
        yield product
