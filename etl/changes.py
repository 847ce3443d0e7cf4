"""Catalogues what comes into the archive, by its change log and a durable cursor."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

from etl.catalogue_run import ReportProgress, load_source_into_catalogue
from etl.extract import ArchiveSource
from etl.loading.removal import CURSOR_NAME
from etl.options import Options
from etl.tally import Tally
from minipacs.archive.client import Archive
from minipacs.archive.content import StudyContent
from minipacs.catalogue import CatalogueCursorRow
from minipacs.change_log import ChangeLogCursor, find_new_resources, read_change_log
from minipacs.database import Database
from minipacs.errors import NotInArchive
from minipacs.settings import Settings

__all__ = ["ArchiveFollower"]


class ArchiveFollower:
    """Brings the catalogue up to date with the archive. Its cursor moves when the rows are written."""

    def __init__(self, settings: Settings, archive: Archive, database: Database, options: Options) -> None:
        self._settings = settings
        self._archive = archive
        self._database = database
        self._options = options
        self.cursor = ChangeLogCursor(database, CatalogueCursorRow, CURSOR_NAME)

    def catch_up(
        self,
        *,
        workers: int = 1,
        executor: Executor | None = None,
        progress: ReportProgress = lambda _tally: None,
    ) -> Tally:
        """Catalogue what came since the last time. An error leaves the cursor before the page that failed."""
        total = Tally()

        for page in read_change_log(self._archive, self.cursor):
            source = ArchiveSource(self._settings, self._read_studies(find_new_resources(page)))
            tally = load_source_into_catalogue(
                source,
                self._database,
                self._options,
                workers=workers,
                executor=executor,
                progress=_make_cumulative_progress(total, progress),
            )
            total.add(tally)
            with self._database.writing() as session:
                self.cursor.move(session, page.last)

        return total

    def _read_studies(self, resource_ids: Sequence[str]) -> Iterator[StudyContent]:
        """The studies that these resources of Orthanc's belong to."""
        for study_id in sorted(self._archive.find_parent_studies(resource_ids)):
            try:
                yield self._archive.read_study(study_id)
            except NotInArchive:  # deleted since
                continue


def _make_cumulative_progress(earlier: Tally, progress: ReportProgress) -> ReportProgress:
    """Progress on top of what earlier pages did."""

    def report(tally: Tally) -> None:
        so_far = Tally()
        so_far.add(earlier)
        so_far.add(tally)
        progress(so_far)

    return report
