"""Orthanc's change log: durable and numbered, read from a cursor that is kept in the database.

Entries of new instances survive anything that happens to Orthanc; StableStudy does not: killed or stopped
within its stable age, Orthanc never reports that study stable. Deletions do not stand in the log.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from minipacs.archive.client import Archive, ChangePage
from minipacs.database import Database

NEW_RESOURCES = ("NewInstance", "NewSeries", "NewStudy")
"""Types of the entries for new instances."""


class ChangeLogCursor:
    """How far one reader has come: the number of the last entry whose consequences are in the database.

    `table` has a row for each reader, with the columns `name` and `position`.
    """

    def __init__(self, database: Database, table: type[Any], name: str) -> None:
        self._database, self._table, self._name = database, table, name

    def read(self) -> int:
        """The number of the last entry that was read; 0 before the first."""
        with self._database.reading() as session:
            return self.read_in(session)

    def read_in(self, session: Session) -> int:
        """The same, in a session that is open already."""
        position = session.scalar(select(self._table.position).where(self._table.name == self._name))
        return int(position or 0)

    def move(self, session: Session, position: int) -> None:
        """Set the position, in the transaction that writes what follows from the entries up to it."""
        insert = self._database.build_insert(self._table).values(name=self._name, position=position)
        session.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"position": position}))


def read_change_log(archive: Archive, cursor: ChangeLogCursor) -> Iterator[ChangePage]:
    """The pages of the log after the cursor, to its end.

    The caller moves the cursor before it takes the next page; a page whose cursor was not moved is read
    again the next time. When the log ends before the cursor, the archive is another one or was restored: its
    log is read from the beginning.
    """
    while True:
        position = cursor.read()
        page = archive.read_changes(position)
        if page.last < position:
            page = archive.read_changes(0)

        yield page
        if page.done or page.last == position:
            return


def find_new_resources(page: ChangePage) -> list[str]:
    """Orthanc's identifiers of the resources that are new on this page, in the order of the log."""
    return [entry.resource_id for entry in page.entries if entry.type in NEW_RESOURCES]
