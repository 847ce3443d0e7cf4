"""The schema's history: each file in `versions/` takes a database one step further (Alembic).

`Database.upgrade_schema()` upgrades at every start, one process at a time. A database of before this folder
existed has some of the first step's tables; that step makes those it lacks. After changing a model, make
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
    """The newest step, `0001` and up; from the file names, so that a start without news loads no Alembic."""
    return max(file.stem[1:5] for file in (FOLDER / "versions").glob("v[0-9][0-9][0-9][0-9]_*.py"))


def current(connection: Connection) -> str:
    """The step this database stands at; empty where it has none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")


def upgrade(connection: Connection, step: str) -> None:
    """Take the database to this step, in the caller's transaction."""
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
    """Alembic's, without a file of its own."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made
