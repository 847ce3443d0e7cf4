"""Fixtures for every box: a database in a folder of its own, and one running product for the session."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipacs.database import Database
from stack import RunningStack, running

ONE_PRODUCT = ("integration", "browser", "chaos")
"""Folders of tests that start the whole product: one after the other, beside everything else (`-n 2`)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under pytest-xdist these folders are one group, so that one product serves them."""
    for item in items:
        if item.path.parent.name in ONE_PRODUCT:
            item.add_marker(pytest.mark.xdist_group("product"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A fresh SQLite database with every table."""
    import minipacs.catalogue
    import minipacs.follow
    import minipacs.jobs  # noqa: F401

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
