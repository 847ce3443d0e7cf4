"""`python -m minipacs.migrations WHAT [URL]`: write the next step from what the models have and the steps lack.

Run it against PostgreSQL where one is at hand: it knows more kinds of columns, and comments.
"""

import sys
import tempfile

from alembic import command

from minipacs.database import Database
from minipacs.migrations import configuration, head
from minipacs.tables import load_tables


def main(what: str, url: str) -> None:
    """Upgrade the (empty) database, compare, write `versions/vNNNN_what.py`."""
    load_tables()
    database = Database(url)
    try:
        database.upgrade_schema()
        with database.engine.connect() as connection:
            configured = configuration(connection)
            number = f"{int(head()) + 1:04d}"
            configured.set_main_option("file_template", f"v{number}_%%(slug)s")
            command.revision(configured, what, autogenerate=True, rev_id=number)
    finally:
        database.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{folder}/new.sqlite")
