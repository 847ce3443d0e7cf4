import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select, text

from minipacs.database import Database
from minipacs.errors import CatalogueUnavailable

CREATE = """
import sys
from minipacs.database import Database
Database(sys.argv[1]).upgrade_schema()
"""


def test_processes_that_create_the_tables_at_once_wait_for_each_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    processes = [
        subprocess.Popen([sys.executable, "-c", CREATE, url], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    assert [code for _, code in ends] == [0] * 4, ends


def test_the_clock_is_the_databases(database: Database) -> None:
    with database.reading() as session:
        earlier = session.scalar(select(database.now()))
        later = session.scalar(select(database.now()))
    assert earlier is not None
    assert later is not None
    assert 0 <= later - earlier < 60
    assert earlier > 1.7e9


def test_an_error_rolls_everything_back(database: Database) -> None:
    def broken() -> None:
        with database.writing() as session:
            session.execute(text("INSERT INTO letter_box (name, last) VALUES ('x', 1)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    with database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM letter_box")) == 0


def test_a_database_that_is_not_there_is_said_with_the_remedy() -> None:
    away = Database("postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=2")
    with pytest.raises(CatalogueUnavailable, match="MINIPACS_DATABASE_URL"), away.reading() as session:
        session.execute(text("SELECT 1"))
