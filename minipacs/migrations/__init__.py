"""The schema's history: each file in `versions/` upgrades a database by one step (Alembic).

`Database.upgrade_schema()` upgrades at every start, one process at a time. A database of before this folder
existed has some of the first step's tables; that step creates those it lacks. After changing a model, write
the next step with `python -m minipacs.migrations WHAT`, read it, and commit it with the change.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from minipacs.errors import SettingsError

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER = Path(__file__).parent


def head() -> str:
    """The newest step, `0001` and up; from the file names, so that a start without an upgrade loads no Alembic."""
    return max(file.stem[1:5] for file in (FOLDER / "versions").glob("v[0-9][0-9][0-9][0-9]_*.py"))


def current(connection: Connection) -> str:
    """The step of this database; empty where it has none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")


def upgrade(connection: Connection, step: str) -> None:
    """Upgrade the database to this step, in the caller's transaction."""
    now = current(connection)
    if now == step:
        return
    if now > step:
        raise SettingsError(
            f"The database has schema {now}, and this version of minipacs knows up to {step}.",
            "Update minipacs, or restore the backup that was made before the update.",
        )
    from alembic import command

    command.upgrade(configuration(connection), step)


def configuration(connection: Connection) -> "Config":
    """Alembic's configuration, which is in no file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
