"""`minipacs etl`: a folder, a study, or all that came into the archive, into the catalogue."""

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from minipacs.audit.command_act import CommandAct

if TYPE_CHECKING:
    from etl.options import Options
    from etl.tally import Tally
    from minipacs.archive.client import Archive
    from minipacs.database import Database
    from minipacs.settings import Settings

__all__ = ["HELP", "configure", "describe_act", "run"]

HELP = "describe DICOM objects in the catalogue and render them as PNGs"
REJECTED_EXIT_CODE = 3
"""Of `--strict` when something was rejected."""

ROWS_PER_UPDATE = 500
INTERRUPTED_EXIT_CODE = 130
"""As shells have it for Ctrl+C: 128 + SIGINT."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("folder", nargs="?", help="folder of any files; without it: what came into the archive")
    what.add_argument("--study", metavar="UID", help="one study of the archive, by Study Instance UID")
    what.add_argument("--series", metavar="UID", help="one series of the archive, by Series Instance UID")
    what.add_argument("--missing", action="store_true", help="what the archive has and the catalogue has not")
    what.add_argument("--follow", action="store_true", help="go on with what comes into the archive, until Ctrl+C")
    add = parser.add_argument
    add(
        "--window", default="first", help="first, all, range, lut, a number, an explanation, or CENTER/WIDTH[/FUNCTION]"
    )
    add("--bits", type=int, default=8, choices=(8, 16), help="8: as shown on a screen; 16: modality values")
    add("--split", default="0.7,0.15,0.15", help="parts of train, validation and test")
    add("--seed", default="", help="key of the split; another seed, another split")
    add("--workers", type=int, default=1, metavar="N", help="processes of this machine")
    add("--target", metavar="FOLDER", help="where PNGs lie (default: OUTPUT/png)")
    add("--prune", action="store_true", help="remove what the source holds no more")
    add("--rebuild", action="store_true", help="empty the catalogue first, PNGs too (jobs stay)")
    add("--json", action="store_true", help="the summary as JSON, for scripts")
    add("--strict", action="store_true", help=f"exit with {REJECTED_EXIT_CODE} when anything was rejected")


def describe_act(arguments: argparse.Namespace) -> CommandAct:
    """For the audit: what goes into the catalogue, and whether it was emptied before."""
    what = arguments.folder or arguments.study or arguments.series or ""
    options = [f"--{name}" for name in ("follow", "prune", "rebuild", "missing") if getattr(arguments, name)]
    uids = tuple(uid for uid in (arguments.study, arguments.series) if uid)
    return CommandAct("job", " ".join(filter(None, ["etl", what, *options])), uids)


def run(arguments: argparse.Namespace, settings: "Settings") -> int:
    """Fill the catalogue; the exit code.

    0: done; 3: done, but something was rejected and `--strict` was given; 130: stopped by Ctrl+C. What
    cannot be done raises an error, which is 1.
    """
    from etl.loading.removal import clear_catalogue
    from minipacs.database import Database

    options = _make_options(arguments, settings)
    database = Database(settings.database_url)
    started = time.monotonic()

    try:
        database.upgrade_schema()
        if arguments.rebuild:
            clear_catalogue(database)
        _repeat_rejections_below_limits(database, settings)
        if arguments.folder:
            tally = _load_folder_into_catalogue(arguments, database, options, settings)
        else:
            tally = _load_archive_into_catalogue(arguments, database, options, settings)
    except KeyboardInterrupt:
        print("Stopped. What was done is kept; run it again to go on.", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE
    finally:
        database.close()

    _print_tally(tally, seconds=time.monotonic() - started, as_json=arguments.json)
    return REJECTED_EXIT_CODE if arguments.strict and tally.rejected else 0


def _repeat_rejections_below_limits(database: "Database", settings: "Settings") -> None:
    """Have this run look again at what broke a limit that was raised since."""
    from etl.chunks import iter_chunks
    from minipacs.catalogue import find_rejections_below_limits, repeat_rejections
    from minipacs.memory.process_limit import compute_limits

    limits = compute_limits(settings)
    with database.reading() as session:
        sources = find_rejections_below_limits(session, limits)
    for chunk in iter_chunks(sorted(sources), ROWS_PER_UPDATE):
        with database.writing() as session:
            repeat_rejections(session, limits, chunk)


def _print_tally(tally: "Tally", *, seconds: float, as_json: bool) -> None:
    """Print what the run did, for scripts or for people."""
    if as_json:
        print(json.dumps({**tally.as_json(), "seconds": round(seconds, 3), "summary": tally.as_sentence()}))
        return

    print(tally.as_sentence())
    if tally.rejected:
        print("Why each was rejected stands in the catalogue's table rejection.")


def _make_options(arguments: argparse.Namespace, settings: "Settings") -> "Options":
    """The options of the run; raises `BadRequest` for those that cannot be read."""
    from pathlib import Path

    from etl.options import Options
    from etl.split import DEFAULT_SEED, parse_ratios

    return Options(
        target=Path(arguments.target).expanduser().resolve() if arguments.target else settings.output / "png",
        window=arguments.window,
        bit_depth=arguments.bits,
        ratios=parse_ratios(arguments.split),
        seed=arguments.seed or DEFAULT_SEED,
    )


def _load_folder_into_catalogue(
    arguments: argparse.Namespace, database: "Database", options: "Options", settings: "Settings"
) -> "Tally":
    """Catalogue a folder tree."""
    from pathlib import Path

    from etl.catalogue_run import connect_to_dask_cluster, load_source_into_catalogue
    from etl.extract import FolderSource, count_source_items
    from etl.loading.prune import remove_instances_missing_from_folder
    from etl.progress_bar import show_progress_bar

    folder = FolderSource(Path(arguments.folder))
    removed = remove_instances_missing_from_folder(database, folder) if arguments.prune else 0

    total = count_source_items(folder)
    with (
        show_progress_bar(total, shown=not arguments.json) as progress,
        connect_to_dask_cluster(settings) as executor,
    ):
        tally = load_source_into_catalogue(
            folder, database, options, workers=arguments.workers, executor=executor, progress=progress
        )
    tally.removed = removed
    return tally


def _load_archive_into_catalogue(
    arguments: argparse.Namespace, database: "Database", options: "Options", settings: "Settings"
) -> "Tally":
    """Catalogue a study or series of the archive, or what came into it since the last time."""
    from etl.catalogue_run import connect_to_dask_cluster
    from etl.loading.prune import remove_instances_missing_from_archive
    from minipacs.archive.client import Archive

    archive = Archive(settings)
    try:
        removed = remove_instances_missing_from_archive(archive, database) if arguments.prune else 0
        with connect_to_dask_cluster(settings) as executor:
            how: dict[str, Any] = {"workers": arguments.workers, "executor": executor}
            sent = settings.without_secrets() if executor else settings  # to the cluster, whose workers have their own
            if arguments.missing:
                tally = _load_missing_into_catalogue(archive, database, options, sent, how)
            elif arguments.study or arguments.series:
                tally = _load_study_into_catalogue(arguments, archive, database, options, sent, how)
            else:
                tally = _load_changes_into_catalogue(arguments, archive, database, options, sent, how)
    finally:
        archive.close()

    tally.removed = removed
    return tally


def _load_study_into_catalogue(
    arguments: argparse.Namespace,
    archive: "Archive",
    database: "Database",
    options: "Options",
    settings: "Settings",
    how: dict[str, Any],
) -> "Tally":
    """Catalogue one study, or one series, of the archive."""
    from etl.catalogue_run import load_source_into_catalogue
    from etl.extract import ArchiveSource, count_source_items
    from etl.progress_bar import show_progress_bar
    from etl.study import find_studies

    study_uid, series_uid = arguments.study or "", arguments.series or ""
    studies = find_studies(archive, study_instance_uid=study_uid, series_instance_uid=series_uid)
    source = ArchiveSource(settings, studies, series_uid)

    with show_progress_bar(count_source_items(source), shown=not arguments.json) as progress:
        return load_source_into_catalogue(source, database, options, progress=progress, **how)


def _load_missing_into_catalogue(
    archive: "Archive", database: "Database", options: "Options", settings: "Settings", how: dict[str, Any]
) -> "Tally":
    """Catalogue what has neither row nor rejection, and what was rejected as a copy of an instance that is gone."""
    from etl.catalogue_run import load_source_into_catalogue
    from etl.extract import ARCHIVE_PREFIX, ArchivedInstances
    from etl.loading.prune import find_rejections_to_repeat
    from etl.study import list_archived_items
    from minipacs.catalogue import read_archive_sources

    with database.reading() as session:
        missing = sorted(set(archive.list_instance_ids()) - read_archive_sources(session))
    sources = [*(ARCHIVE_PREFIX + instance_id for instance_id in missing), *find_rejections_to_repeat(database)]
    source = ArchivedInstances(settings, list_archived_items(archive, sources))
    return load_source_into_catalogue(source, database, options, **how)


def _load_changes_into_catalogue(
    arguments: argparse.Namespace,
    archive: "Archive",
    database: "Database",
    options: "Options",
    settings: "Settings",
    how: dict[str, Any],
) -> "Tally":
    """Catalogue what came into the archive since the last time; with `--follow`, until Ctrl+C."""
    from etl.catalogue_run import load_source_into_catalogue
    from etl.changes import ArchiveFollower
    from etl.extract import ArchivedInstances
    from etl.loading.prune import find_rejections_to_repeat
    from etl.progress_bar import show_progress_bar
    from etl.study import list_archived_items

    follower = ArchiveFollower(settings, archive, database, options)
    with show_progress_bar(None, shown=not arguments.json) as progress:
        tally = follower.catch_up(progress=progress, **how)
        repeated = ArchivedInstances(settings, list_archived_items(archive, find_rejections_to_repeat(database)))
        tally.add(load_source_into_catalogue(repeated, database, options, **how))
        while arguments.follow:
            time.sleep(settings.poll_s)
            tally.add(follower.catch_up(progress=progress, **how))
    return tally
