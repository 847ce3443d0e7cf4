"""The steps make what the models say, on both databases, and lose nothing of an older one."""

import ast
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from minipacs import migrations
from minipacs.database import Database
from minipacs.errors import SettingsError
from minipacs.tables import load_tables
from postgres import new_url

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    database = Database(new_url(request.param, tmp_path))
    yield database
    database.close()


def differences(database: Database) -> list[Any]:
    """What Alembic would still change."""
    tables = load_tables()
    with database.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), tables))


def test_the_steps_make_exactly_what_the_models_say(empty: Database) -> None:
    empty.upgrade_schema()
    assert differences(empty) == []


def test_a_database_of_before_the_steps_keeps_its_rows(empty: Database) -> None:
    empty.upgrade_schema("0001")
    with empty.writing() as session:  # as `minipacs etl` alone left it: no steps, no tables of the front door
        for table in ("api_token", "api_user", "api_share", "api_audit", "api_login_failure", "alembic_version"):
            session.execute(text(f"DROP TABLE {table}"))
        session.execute(
            text(
                "INSERT INTO patient (patient_key, number_of_patient_related_studies, number_of_patient_related_series,"
                " number_of_patient_related_instances) VALUES ('P1', 1, 1, 1)"
            )
        )
    empty.upgrade_schema()
    assert differences(empty) == []
    with empty.reading() as session:
        assert session.scalar(text("SELECT patient_key FROM patient")) == "P1"


def test_a_step_that_rebuilds_a_table_keeps_what_points_to_it(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite drops the old table, which with foreign keys on would delete the tokens (ON DELETE CASCADE)."""

    def rebuild(connection: Connection, step: str) -> None:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("api_user", recreate="auto") as table:
            table.alter_column("role", new_column_name="duty")

    empty.upgrade_schema()
    with empty.writing() as session:
        session.execute(text("INSERT INTO api_user VALUES ('a', 'admin', 'x', false, 0, true, NULL)"))
        session.execute(text("INSERT INTO api_token VALUES ('t', 'x', 'admin', 'a', 0, true)"))
    monkeypatch.setattr(migrations, "head", lambda: "9998")  # a step to come
    monkeypatch.setattr(migrations, "upgrade", rebuild)
    empty.upgrade_schema()
    with empty.reading() as session:
        assert session.scalar(text("SELECT duty FROM api_user")) == "admin"
        assert session.scalar(text("SELECT count(*) FROM api_token")) == 1
    with pytest.raises(IntegrityError), empty.writing() as session:
        session.execute(text("INSERT INTO api_token VALUES ('u', 'y', 'admin', 'nobody', 0, true)"))


def test_an_upgrade_in_the_middle_of_a_failure_leaves_the_database_as_it_was(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: Any, step: str) -> None:
        upgrade(connection, step)
        raise ZeroDivisionError

    upgrade = migrations.upgrade
    monkeypatch.setattr(migrations, "upgrade", fail)
    with pytest.raises(ZeroDivisionError):
        empty.upgrade_schema()
    with empty.engine.connect() as connection:
        assert migrations.current(connection) == ""
    monkeypatch.undo()
    empty.upgrade_schema()
    assert differences(empty) == []


def test_a_database_of_a_newer_version_is_refused(empty: Database) -> None:
    empty.upgrade_schema()
    with empty.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SettingsError, match="Update minipacs"):
        empty.upgrade_schema()


def test_the_file_names_tell_the_newest_step() -> None:
    assert ScriptDirectory(str(migrations.FOLDER)).get_current_head() == migrations.head()


def test_every_module_with_tables_is_known() -> None:
    listed = {point.value for point in entry_points(group="minipacs.tables")}
    for path in (p for box in ("minipacs", "etl", "segmentation", "api") for p in (ROOT / box).rglob("*.py")):
        classes = [node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
        if any(isinstance(b, ast.Name) and b.id == "Base" for c in classes for b in c.bases):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            package = module.rpartition(".")[0]
            assert module in listed or (package in listed and module in find_imports(path.with_name("__init__.py")))


def find_imports(file: Path) -> set[str]:
    """The modules that a file imports names of."""
    return {node.module or "" for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)}
