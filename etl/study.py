"""A study of the archive into the catalogue, as a job or by hand."""

from typing import Any

from sqlalchemy import select

from etl.catalogue_run import catalogue
from etl.extract import ARCHIVE_PREFIX, ArchiveSource, series_items
from etl.load import Tally, remove
from etl.options import Options
from minipacs.archive.client import Archive
from minipacs.catalogue import Instance, Series
from minipacs.database import Database
from minipacs.errors import NotInArchive
from minipacs.jobs.contract import StudyContent, Task
from minipacs.settings import Settings


def default_options(settings: Settings) -> Options:
    """What jobs render: the first window, 8 bits, below OUTPUT/png."""
    return Options(target=settings.output / "png")


def catalogue_study(task: Task) -> dict[str, Any]:
    """The work of a job of kind `catalogue`; its result as JSON."""
    try:
        study = task.archive.study(str(task.args["study_id"]))
    except NotInArchive:
        study = StudyContent(str(task.args["study_id"]), str(task.args.get("study_instance_uid", "")), ())
    total = sum(len(series.instances) for series in study.series)

    def progress(tally: Tally, _seen: int) -> None:
        task.progress("cataloguing", tally.done, total)

    progress(Tally(), 0)
    removed = prune_study(task.database, study) if task.args.get("prune") else 0
    options = default_options(task.settings)
    tally = catalogue(ArchiveSource(task.settings, [study]), task.database, options, progress=progress)
    tally.removed = removed
    return {**tally.as_json(), "summary": summary(tally)}


def prune_study(database: Database, study: StudyContent) -> int:
    """Remove from the catalogue what came from the archive and is no more in it; how many instances."""
    held = {found.source for series in study.series for found in series_items(series)}
    with database.reading() as session:
        rows = session.execute(
            select(Instance.sop_instance_uid, Instance.source)
            .join(Series, Series.series_instance_uid == Instance.series_instance_uid)
            .where(Series.study_instance_uid == study.study_instance_uid, Instance.source.startswith(ARCHIVE_PREFIX))
        )
        gone = [uid for uid, source in rows if source not in held]
    return remove(database, gone)


def content_of(archive: Archive, *, study: str = "", series: str = "") -> list[StudyContent]:
    """The studies of the archive that bear this Study Instance UID or hold this series; raises `NotInArchive`."""
    ids = archive.find("Study", study) if study else sorted(archive.studies_of(archive.find("Series", series)))
    if not ids:
        raise NotInArchive(f"The archive has no {'study' if study else 'series'} {study or series}.", "Check the UID.")
    return [archive.study(study_id) for study_id in ids]


def summary(tally: Tally) -> str:
    """What a run did, in a sentence."""
    parts = [f"{tally.added} added", f"{tally.unchanged} unchanged", f"{tally.rendered} pictures"]
    if tally.changed:
        parts.insert(1, f"{tally.changed} changed")
    if tally.removed:
        parts.append(f"{tally.removed} removed")
    if tally.rejected:
        said = ", ".join(f"{number} {code}" for code, number in sorted(tally.rejected.items()))
        parts.append(f"{sum(tally.rejected.values())} rejected ({said})")
    return ", ".join(parts) + "."
