"""Removes from the catalogue what its source has no more."""

import os
from collections.abc import Iterator

from sqlalchemy import delete, select

from etl.chunks import iter_chunks
from etl.extract import ARCHIVE_PREFIX, FolderSource, list_series_items
from etl.loading.removal import remove_instances
from minipacs.archive.client import Archive
from minipacs.archive.content import StudyContent
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
        uids = list(session.scalars(select(Study.study_instance_uid).order_by(Study.study_instance_uid)))
    removed = sum(remove_instances_missing_from_study(archive, database, uid) for uid in uids)
    _remove_rejections_missing_from_archive(archive, database)
    return removed


def remove_instances_missing_from_study(archive: Archive, database: Database, study_instance_uid: str) -> int:
    """Remove instances of a study that came from the archive and are no more in it; how many.

    The archive is asked for all that it has under the UID: two patients may have it, and then it is two studies of
    Orthanc's, of which neither may remove the other's rows.
    """
    wanted = (
        select(Instance.sop_instance_uid, Instance.source)
        .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
        .where(Series.study_instance_uid == study_instance_uid, Instance.source.startswith(ARCHIVE_PREFIX))
    )
    with database.reading() as session:
        catalogued = session.execute(wanted).all()
    if not catalogued:
        return 0

    study = _read_study(archive, study_instance_uid)
    archived = {item.source for series in study.series for item in list_series_items(series)}
    return remove_instances(database, (uid for uid, source in catalogued if source not in archived))


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


def _read_study(archive: Archive, study_instance_uid: str) -> StudyContent:
    """All that the archive has under this UID; under two patients it is two studies of Orthanc's."""
    parts = []
    for study_id in archive.find_ids("Study", study_instance_uid):
        try:
            parts.append(archive.read_study(study_id))
        except NotInArchive:  # deleted since
            continue
    return StudyContent("", study_instance_uid, tuple(series for part in parts for series in part.series))


def _find_instances_without_file(database: Database, folder: FolderSource) -> Iterator[str]:
    """SOP Instance UIDs that the catalogue has from files below the folder that are gone."""
    for chunk in iter_chunks(_list_sources(database, folder, Instance), ROWS_PER_QUERY):
        missing = [source for source in chunk if not os.path.exists(source)]
        with database.reading() as session:
            uids = list(session.scalars(select(Instance.sop_instance_uid).where(Instance.source.in_(missing))))
        yield from uids


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
