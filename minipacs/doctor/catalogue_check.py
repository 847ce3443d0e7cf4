"""The doctor's comparison of archive and catalogue: every instance has a row or a rejection, and each of those its
instance. Both sides are read a page at a time; of the archive's instances the identifiers alone are kept."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from minipacs import migrations
from minipacs.archive.client import PAGE_SIZE, Archive, ArchivedInstance
from minipacs.catalogue import AFTER_ARCHIVE_PREFIX, ARCHIVE_PREFIX, Instance, Rejection
from minipacs.database import Database, database_exists
from minipacs.doctor.finding import Finding, failure, ok, warning
from minipacs.jobs.planner import FollowedStudy
from minipacs.jobs.record import Job
from minipacs.settings import Settings

__all__ = ["check_catalogue", "check_waiting_studies", "find_waiting_studies"]

ARCHIVE_TIMEOUT_S = 30.0
"""Longest wait for the archive's answer."""
MAX_NAMED = 5
"""Instances that a finding names on each side."""
MAX_LOOKED_UP = 10_000
"""Instances on each side that the archive is asked about; the first import of a large archive has more."""


def check_waiting_studies(settings: Settings) -> Finding:
    """How many studies are still to be catalogued."""
    if not database_exists(settings.database_url):
        return ok("nothing was planned yet")
    with closing(Database(settings.database_url)) as database, database.reading() as session:
        if not migrations.current(session.connection()):
            return ok("nothing was planned yet")
        unplanned, with_job = _find_unplanned_studies(session), _find_studies_with_job(session)

    if not unplanned | with_job:
        return ok("all studies are catalogued, as far as they were noticed")
    seen = f"{_count(len(unplanned | with_job), 'study', 'studies')} still to be catalogued"
    return ok(f"{seen}: {len(with_job)} with an open job, {len(unplanned - with_job)} not planned yet")


def check_catalogue(settings: Settings) -> Finding:
    """Every instance of the archive has a row or a rejection, but for what waits to be catalogued; and each of those
    its instance."""
    if not database_exists(settings.database_url):
        return ok("nothing catalogued yet")

    with (
        closing(Archive(settings, timeout_s=ARCHIVE_TIMEOUT_S)) as archive,
        closing(Database(settings.database_url)) as database,
    ):
        with database.reading() as session:
            if not migrations.current(session.connection()):
                return ok("nothing catalogued yet")

        archived = set(archive.list_instance_ids())
        with database.reading() as session:
            missing = _find_uncatalogued(session, archived)
            gone = _find_sources_without_instance(session, archived)
            waiting = find_waiting_studies(session)
        return _describe_differences(archive, len(archived), missing, gone, waiting)


def find_waiting_studies(session: Session) -> set[str]:
    """Orthanc's identifiers of studies that the planner has not planned yet, or that have an open catalogue job."""
    return _find_unplanned_studies(session) | _find_studies_with_job(session)


def _find_unplanned_studies(session: Session) -> set[str]:
    return set(session.scalars(select(FollowedStudy.study_id).where(FollowedStudy.due.is_not(None))))


def _find_studies_with_job(session: Session) -> set[str]:
    open_jobs = select(Job.args).where(Job.kind == "catalogue", Job.state.in_(("queued", "running")))
    return {str(args.get("study_id", "")) for args in session.scalars(open_jobs)}


def _find_uncatalogued(session: Session, archived: Collection[str]) -> list[str]:
    """Those of the archive's instances that have neither row nor rejection, by identifier."""
    missing: list[str] = []
    for page in _iterate_pages(sorted(archived)):
        sources = [ARCHIVE_PREFIX + instance_id for instance_id in page]
        known: set[str] = set()
        for table in (Instance, Rejection):
            known.update(session.scalars(select(table.source).where(table.source.in_(sources))))
        missing += [instance_id for instance_id in page if ARCHIVE_PREFIX + instance_id not in known]
    return missing


def _find_sources_without_instance(session: Session, archived: Collection[str]) -> dict[str, str]:
    """SOP Instance UIDs of rows and rejections whose instance the archive has not, by Orthanc's identifier."""
    found: dict[str, str] = {}
    for table in (Instance, Rejection):
        last = ARCHIVE_PREFIX
        columns = select(table.source, table.sop_instance_uid).order_by(table.source).limit(PAGE_SIZE)
        while page := session.execute(columns.where(table.source > last, table.source < AFTER_ARCHIVE_PREFIX)).all():
            for source, uid in page:
                instance_id = source.removeprefix(ARCHIVE_PREFIX)
                if instance_id not in archived:
                    found.setdefault(instance_id, uid or instance_id)
            last = page[-1].source
    return found


def _describe_differences(
    archive: Archive, archived: int, missing: Sequence[str], gone: dict[str, str], waiting: Collection[str]
) -> Finding:
    """The finding, after the archive was asked what it knows of the differences."""
    looked_up = {each.instance_id: each for each in archive.find_instances(missing[:MAX_LOOKED_UP])}
    lost = [each for each in looked_up.values() if each.study_id not in waiting]
    unknown = len(missing) - min(len(missing), MAX_LOOKED_UP)
    came_meanwhile = {each.instance_id for each in archive.find_instances(sorted(gone)[:MAX_LOOKED_UP])}
    left_over = [gone[instance_id] for instance_id in sorted(gone) if instance_id not in came_meanwhile]

    seen, remedies = [], []
    number = len(lost) if waiting else len(lost) + unknown
    if number:
        have = _count(number, "instance of the archive has", "instances of the archive have")
        more = f", of {MAX_LOOKED_UP} looked at of {len(missing)}" if waiting and unknown else ""
        seen.append(f"{have} neither row nor rejection{more}: {_name_some([_name(each) for each in lost], number)}")
        remedies.append("`minipacs etl --missing` catalogues what is missing.")
    if left_over:
        entries = _count(len(left_over), "entry of the catalogue has", "entries of the catalogue have")
        seen.append(f"{entries} no instance in the archive any more: {_name_some(left_over, len(left_over))}")
        remedies.append("`minipacs etl --prune` removes what is left over.")

    if number:
        return failure("; ".join(seen), " ".join(remedies))
    if left_over:
        return warning("; ".join(seen), " ".join(remedies))
    if missing and waiting:
        still = _count(len(missing), "is of a study", "are of studies")
        return ok(f"{_count(archived, 'instance', 'instances')} in the archive, of which {still} that waits")
    return ok(f"{_count(archived, 'instance', 'instances')} in the archive, each with a row or a rejection")


def _name(instance: ArchivedInstance) -> str:
    return instance.sop_instance_uid or instance.instance_id


def _name_some(names: Sequence[str], number: int) -> str:
    """The first names, and how many more there are."""
    shown = sorted(names)[:MAX_NAMED]
    more = f" and {number - len(shown)} more" if number > len(shown) else ""
    return ", ".join(shown) + more


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _iterate_pages(items: Sequence[str]) -> Iterator[list[str]]:
    iterator = iter(items)
    while page := list(islice(iterator, PAGE_SIZE)):
        yield page
