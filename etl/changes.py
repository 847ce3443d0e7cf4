"""The archive's change log as a source, read from a durable cursor that moves when the rows are written."""

from collections.abc import Iterator
from concurrent.futures import Executor

from sqlalchemy import delete, select

from etl.catalogue_run import ReportProgress, catalogue_source
from etl.extract import ArchiveSource
from etl.loading.prune import prune_study
from etl.loading.removal import delete_pngs
from etl.options import Options
from etl.tally import Tally
from minipacs.archive.client import Archive
from minipacs.archive.content import StudyContent
from minipacs.catalogue import Cursor, Instance, Patient, Rejection, Rendering, Segment, Series, Study, Total
from minipacs.change_log import ChangeLogCursor, new_resources, read_change_log
from minipacs.database import Database
from minipacs.errors import NotInArchive
from minipacs.settings import Settings

CURSOR = "etl"


class ChangeLog:
    """Catalogues what came into the archive since the last time."""

    def __init__(self, settings: Settings, archive: Archive, database: Database, options: Options) -> None:
        self._settings, self._archive, self._database, self._options = settings, archive, database, options
        self.cursor = ChangeLogCursor(database, Cursor, CURSOR)

    def catch_up(
        self,
        *,
        workers: int = 1,
        executor: Executor | None = None,
        progress: ReportProgress = lambda _tally: None,
    ) -> Tally:
        """Read the log to its end. An error leaves the cursor before the page that failed."""
        total = Tally()
        for page in read_change_log(self._archive, self.cursor):
            source = ArchiveSource(self._settings, self._contents(new_resources(page)))
            done = catalogue_source(
                source,
                self._database,
                self._options,
                workers=workers,
                executor=executor,
                progress=_after(total, progress),
            )
            total.add(done)
            with self._database.writing() as session:
                self.cursor.move(session, page.last)
        return total

    def _contents(self, resource_ids: list[str]) -> Iterator[StudyContent]:
        for study_id in sorted(self._archive.studies_of(resource_ids)):
            try:
                yield self._archive.study(study_id)
            except NotInArchive:  # deleted since
                continue


def _after(earlier: Tally, progress: ReportProgress) -> ReportProgress:
    """Progress on top of what earlier pages did."""

    def report(tally: Tally) -> None:
        so_far = Tally()
        so_far.add(earlier)
        so_far.add(tally)
        progress(so_far)

    return report


def prune_archive(archive: Archive, database: Database) -> int:
    """Remove from the catalogue what the archive holds no more; how many instances."""
    with database.reading() as session:
        uids = list(session.scalars(select(Study.study_instance_uid).order_by(Study.study_instance_uid)))
    return sum(prune_study(database, _content(archive, uid)) for uid in uids)


def _content(archive: Archive, study_instance_uid: str) -> StudyContent:
    """All that the archive holds under this UID; under two patients it is two studies of Orthanc's."""
    parts = []
    for study_id in archive.find("Study", study_instance_uid):
        try:
            parts.append(archive.study(study_id))
        except NotInArchive:  # deleted since
            continue
    return StudyContent("", study_instance_uid, tuple(series for part in parts for series in part.series))


def forget(database: Database) -> None:
    """Empty the catalogue, PNGs too: before it is built anew. Jobs stay."""
    with database.reading() as session:
        for paths in session.scalars(select(Rendering.png_path)).partitions(1000):
            delete_pngs(paths)
    with database.writing() as session:
        for table in (Rendering, Segment, Instance, Series, Study, Patient, Rejection, Total):
            session.execute(delete(table))
        session.execute(delete(Cursor).where(Cursor.name == CURSOR))
