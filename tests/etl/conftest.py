"""A catalogue on either database, and a folder of objects made by code."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from etl.catalogue_run import load_source_into_catalogue
from etl.extract import FolderSource
from etl.options import Options
from etl.tally import Tally
from minipacs.database import Database
from postgres import new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty catalogue on SQLite, and on PostgreSQL."""
    with new_database(request.param, tmp_path) as empty:
        yield empty


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """The default options, into a folder of the test's own."""
    return Options(target=tmp_path / "png")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An empty folder for files."""
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def run(database: Database, options: Options, source: Path) -> Callable[..., Tally]:
    """Catalogue a folder: the test's own, under the default options, unless told otherwise."""

    def run_over(folder: Path = source, options: Options = options, **how: Any) -> Tally:
        return load_source_into_catalogue(FolderSource(folder), database, options, **how)

    return run_over
