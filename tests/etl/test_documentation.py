"""docs/catalogue.md names every table, option and reason there is."""

import argparse
import re
from pathlib import Path

import pytest
from sqlalchemy import text

from etl import command
from minipacs import catalogue
from minipacs.database import Database
from minipacs.tables import Base

ROOT = Path(__file__).parents[2]
CODE = re.compile(r'(?:reject|RejectionReason)\(\s*"(\w+)"')
CODES = sorted({code for path in (ROOT / "etl").rglob("*.py") for code in CODE.findall(path.read_text("utf-8"))})
TEXT = (ROOT / "docs" / "catalogue.md").read_text("utf-8")


def test_every_table_is_described() -> None:
    found = [t for t in vars(catalogue).values() if isinstance(t, type) and issubclass(t, Base) and t is not Base]
    tables = [table.__tablename__ for table in found]
    assert len(tables) == 10
    assert all(f"| `{name}` |" in TEXT for name in tables)


def test_every_option_is_described() -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    options = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
    assert all(name in TEXT for name in options if name != "--help")


@pytest.mark.parametrize("code", CODES)
def test_every_reason_is_described(code: str) -> None:
    assert f"| `{code}` |" in TEXT


def test_the_query_in_the_text_runs(tmp_path: Path) -> None:
    (query,) = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
    database = Database(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    database.upgrade_schema()
    with database.reading() as session:
        assert session.execute(text(query)).all() == []
    database.close()
