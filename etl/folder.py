"""A folder tree into the catalogue, and what must leave the catalogue because its file is gone."""

import os
from collections.abc import Iterator

from sqlalchemy import delete, select

from etl.extract import FolderSource
from etl.load import chunked, remove
from minipacs.catalogue import Instance, Rejection
from minipacs.database import Database

PAGE = 500


def prune_folder(database: Database, folder: FolderSource) -> int:
    """Remove instances and rejections whose file below this folder is gone; how many instances.

    Copies and conflicts of a removed instance are forgotten, so that the next run looks at them again.
    """
    number = 0
    for gone in chunked(_gone(database, folder), PAGE):
        number += remove(database, gone)
    with database.writing() as session:
        missing = [source for source in _sources(database, folder, Rejection) if not os.path.exists(source)]
        for chunk in chunked(missing, PAGE):
            session.execute(delete(Rejection).where(Rejection.source.in_(chunk)))
    return number


def _gone(database: Database, folder: FolderSource) -> Iterator[str]:
    for chunk in chunked(_sources(database, folder, Instance), PAGE):
        missing = [source for source in chunk if not os.path.exists(source)]
        with database.reading() as session:
            yield from session.scalars(select(Instance.sop_instance_uid).where(Instance.source.in_(missing)))


def _sources(database: Database, folder: FolderSource, table: type[Instance] | type[Rejection]) -> Iterator[str]:
    """Sources below the folder, a page at a time, in order."""
    root, last = str(folder.path), ""
    while True:
        wanted = select(table.source).where(table.source > last, table.source.startswith(root, autoescape=True))
        with database.reading() as session:
            page = list(session.scalars(wanted.order_by(table.source).limit(PAGE)))
        if not page:
            return
        yield from (source for source in page if source == root or source.startswith(root.rstrip("/") + "/"))
        last = page[-1]
