"""Removes from the catalogue what its source has no more."""

import os
from collections.abc import Iterator

from sqlalchemy import delete, select

from etl.chunks import iter_chunks
from etl.extract import ARCHIVE_PREFIX, FolderSource, list_series_items
from etl.loading.removal import remove_instances
from minipacs.archive.client import Archive
from minipacs.catalogue import Instance, Rejection, Series, Study
from minipacs.database import Database
from minipacs.errors import NotInArchive

__all__ = [
    "find_rejections_to_repeat",
    "remove_instances_missing_from_archive",
    "remove_instances_missing_from_folder",
    "remove_instances_missing_from_study",
]

ROWS_PER_QUERY = 500


def remove_instances_missing_from_folder(database: Database, folder: FolderSource) -> int:
    """Remove instances and rejections whose file below this folder is gone; how many instances.

    Copies and conflicts of a removed instance are looked at again by the next run.
    """
    number = remove_instances(database, _find_instances_without_file(database, folder))

    missing = (source for source in _list_sources(database, folder, Rejection) if not os.path.exists(source))
    for chunk in iter_chunks(missing, ROWS_PER_QUERY):
        with database.writing() as session:
            session.execute(delete(Rejection).where(Rejection.source.in_(chunk)))

    return number


def remove_instances_missing_from_archive(archive: Archive, database: Database) -> int:
    """Remove instances that came from the archive and are no more in it; how many."""
    with database.reading() as session:
        keys = list(session.scalars(select(Study.study_key).order_by(Study.study_key)))
    removed = sum(remove_instances_missing_from_study(archive, database, key) for key in keys)
    _remove_rejections_missing_from_archive(archive, database)
    return removed


def remove_instances_missing_from_study(archive: Archive, database: Database, study_key: str) -> int:
    """Remove instances of a study that came from the archive and are no more in that study of Orthanc's; how many."""
    wanted = (
        select(Instance.instance_key, Instance.source)
        .join(Series, Series.series_key == Instance.series_key)
        .where(Series.study_key == study_key, Instance.source.startswith(ARCHIVE_PREFIX))
    )
    with database.reading() as session:
        catalogued = session.execute(wanted).all()
    if not catalogued:
        return 0

    archived = _list_archived_sources(archive, study_key)  # read after the rows: what came between them stays
    return remove_instances(database, (key for key, source in catalogued if source not in archived))


def find_rejections_to_repeat(database: Database, *, of_limits: bool = True) -> list[str]:
    """Archived instances whose rejection no longer holds: what they were a copy of, or in conflict with, is gone; with
    `of_limits` those too whose limit was raised, which are large.
    """
    with database.reading() as session:
        wanted = select(Rejection.source).where(
            Rejection.options.is_(None), Rejection.source.startswith(ARCHIVE_PREFIX), Rejection.code != "unavailable"
        )
        if not of_limits:
            wanted = wanted.where(Rejection.limit_setting.is_(None))
        return list(session.scalars(wanted.order_by(Rejection.source)))


def _remove_rejections_missing_from_archive(archive: Archive, database: Database) -> None:
    """Remove the rejections of instances that the archive has no more."""
    archived = set(archive.list_instance_ids())
    with database.reading() as session:
        sources = list(session.scalars(select(Rejection.source).where(Rejection.source.startswith(ARCHIVE_PREFIX))))

    gone = (source for source in sources if source.removeprefix(ARCHIVE_PREFIX) not in archived)
    for chunk in iter_chunks(gone, ROWS_PER_QUERY):
        with database.writing() as session:
            session.execute(delete(Rejection).where(Rejection.source.in_(chunk)))


def _list_archived_sources(archive: Archive, study_key: str) -> set[str]:
    """The sources of all instances that the archive has of a study; none of one that it has no more."""
    try:
        study = archive.read_study(study_key)
    except NotInArchive:
        return set()
    return {item.source for series in study.series for item in list_series_items(series, study_key)}


def _find_instances_without_file(database: Database, folder: FolderSource) -> Iterator[str]:
    """Keys of the instances that the catalogue has from files below the folder that are gone."""
    for chunk in iter_chunks(_list_sources(database, folder, Instance), ROWS_PER_QUERY):
        missing = [source for source in chunk if not os.path.exists(source)]
        with database.reading() as session:
            keys = list(session.scalars(select(Instance.instance_key).where(Instance.source.in_(missing))))
        yield from keys


def _list_sources(database: Database, folder: FolderSource, table: type[Instance] | type[Rejection]) -> Iterator[str]:
    """Sources of a table that lie below the folder, in order, a page at a time."""
    root = str(folder.path)
    folder_prefix = root.rstrip("/") + "/"
    last = ""

    while True:
        wanted = select(table.source).where(table.source > last, table.source.startswith(root, autoescape=True))
        with database.reading() as session:
            page = list(session.scalars(wanted.order_by(table.source).limit(ROWS_PER_QUERY)))
        if not page:
            return

        yield from (source for source in page if source == root or source.startswith(folder_prefix))
        last = page[-1]
