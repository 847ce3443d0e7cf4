"""A study of the archive into the catalogue, as a job or by hand."""

from collections.abc import Collection
from typing import Any

from etl.catalogue_run import load_source_into_catalogue
from etl.extract import ARCHIVE_PREFIX, ArchivedInstances, ArchiveSource, list_series_items
from etl.loading.prune import find_rejections_to_repeat, remove_instances_missing_from_study
from etl.options import Options
from etl.records import SourceItem
from etl.tally import Tally
from minipacs.archive.client import Archive
from minipacs.archive.content import StudyContent
from minipacs.errors import NotInArchive
from minipacs.jobs.contract import Task
from minipacs.settings import Settings

__all__ = ["find_studies", "list_archived_items", "make_default_options", "run_catalogue_job"]


def make_default_options(settings: Settings) -> Options:
    """What jobs render: the first window, 8 bits, below OUTPUT/png."""
    return Options(target=settings.output / "png")


def run_catalogue_job(task: Task) -> dict[str, Any]:
    """Do the work of a job of kind `catalogue`; its result as JSON."""
    study = _read_study(task)
    total = sum(len(series.instances) for series in study.series)

    def report(tally: Tally) -> None:
        task.progress("cataloguing", tally.items_done, total)

    report(Tally())
    removed = 0
    if task.args.get("prune"):
        removed = remove_instances_missing_from_study(task.archive, task.database, study.study_id)

    source = ArchiveSource(task.settings, [study])
    tally = load_source_into_catalogue(source, task.database, make_default_options(task.settings), progress=report)
    tally.removed = removed

    copies = find_rejections_to_repeat(task.database, of_limits=False)  # of any study; the large ones are their own's
    rejected = ArchivedInstances(task.settings, list_archived_items(task.archive, copies))
    tally.add(load_source_into_catalogue(rejected, task.database, make_default_options(task.settings)))
    return {**tally.as_json(), "summary": tally.as_sentence()}


def _read_study(task: Task) -> StudyContent:
    """What the archive has of the job's study; a study without series when it was deleted."""
    study_id = str(task.args["study_id"])
    try:
        return task.archive.read_study(study_id)
    except NotInArchive:
        return StudyContent(study_id, str(task.args.get("study_instance_uid", "")), ())


def list_archived_items(archive: Archive, sources: Collection[str]) -> list[SourceItem]:
    """Items of these instances of the archive, with the series and the study that the archive has them in.

    One that the archive has no more is an item too: reading it says so.
    """
    if not sources:
        return []

    wanted = dict.fromkeys(sources)
    found: dict[str, SourceItem] = {}
    for study_id in sorted(archive.find_parent_studies([source.removeprefix(ARCHIVE_PREFIX) for source in wanted])):
        try:
            study = archive.read_study(study_id)
        except NotInArchive:  # deleted since
            continue
        items = [item for series in study.series for item in list_series_items(series, study_id)]
        found.update((item.source, item) for item in items if item.source in wanted)
    return [found.get(source) or SourceItem(source) for source in wanted]


def find_studies(
    archive: Archive, *, study_instance_uid: str = "", series_instance_uid: str = ""
) -> list[StudyContent]:
    """The studies of the archive with this Study Instance UID, or else with this series; raises `NotInArchive`."""
    if study_instance_uid:
        study_ids = archive.find_ids("Study", study_instance_uid)
    else:
        study_ids = sorted(archive.find_parent_studies(archive.find_ids("Series", series_instance_uid)))

    if not study_ids:
        level = "study" if study_instance_uid else "series"
        uid = study_instance_uid or series_instance_uid
        raise NotInArchive(f"The archive has no {level} {uid}.", "Check the UID.")
    return [archive.read_study(study_id) for study_id in study_ids]
