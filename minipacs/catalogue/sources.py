"""How the catalogue names where an object came from."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from minipacs.catalogue.objects import Instance
from minipacs.catalogue.rejections import Rejection

__all__ = ["AFTER_ARCHIVE_PREFIX", "ARCHIVE_PREFIX", "read_archive_sources"]

ARCHIVE_PREFIX = "archive:"
"""Before Orthanc's identifier in the column `source`."""
AFTER_ARCHIVE_PREFIX = "archive;"
"""The first text after all that begin with it."""


def read_archive_sources(session: Session) -> set[str]:
    """Orthanc's identifiers of the instances that have a row or a rejection."""
    tables: tuple[type[Instance] | type[Rejection], ...] = (Instance, Rejection)
    found: set[str] = set()
    for table in tables:
        sources = select(table.source).where(table.source.between(ARCHIVE_PREFIX, AFTER_ARCHIVE_PREFIX))
        found.update(source.removeprefix(ARCHIVE_PREFIX) for source in session.scalars(sources))
    return found
