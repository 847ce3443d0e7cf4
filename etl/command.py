"""`minipacs etl`: a folder, a study, or all that came into the archive, into the catalogue."""

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etl.load import Tally
    from etl.options import Options
    from minipacs.database import Database
    from minipacs.settings import Settings

HELP = "describe DICOM objects in the catalogue and render them as PNGs"
STRICT = 3
"""Exit code of `--strict` when something was rejected."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("folder", nargs="?", help="folder of any files; without it: what came into the archive")
    what.add_argument("--study", metavar="UID", help="one study of the archive, by Study Instance UID")
    what.add_argument("--series", metavar="UID", help="one series of the archive, by Series Instance UID")
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
    add("--strict", action="store_true", help=f"exit with {STRICT} when anything was rejected")


def run(arguments: argparse.Namespace, settings: "Settings") -> int:
    """0: done; 1: could not be done; 3: done, but something was rejected and `--strict` was given."""
    from etl.changes import forget
    from etl.study import summary
    from minipacs.database import Database

    options = _options(arguments, settings)
    database = Database(settings.database_url)
    started = time.monotonic()
    try:
        database.create()
        if arguments.rebuild:
            forget(database)
        tally = _from_folder(arguments, database, options, settings) if arguments.folder else None
        tally = tally or _from_archive(arguments, database, options, settings)
    except KeyboardInterrupt:
        print("Stopped. What was done is kept; run it again to go on.", file=sys.stderr)
        return 130
    finally:
        database.close()
    result: dict[str, Any] = {**tally.as_json(), "seconds": round(time.monotonic() - started, 3)}
    print(json.dumps({**result, "summary": summary(tally)}) if arguments.json else summary(tally))
    if tally.rejected and not arguments.json:
        print("Why each was rejected stands in the catalogue's table rejection.")
    return STRICT if arguments.strict and tally.rejected else 0


def _options(arguments: argparse.Namespace, settings: "Settings") -> "Options":
    from pathlib import Path

    from etl.options import Options
    from etl.split import SEED, ratios

    return Options(
        target=Path(arguments.target).expanduser().resolve() if arguments.target else settings.output / "png",
        window=arguments.window,
        bit_depth=arguments.bits,
        ratios=ratios(arguments.split),
        seed=arguments.seed or SEED,
    )


def _from_folder(
    arguments: argparse.Namespace, database: "Database", options: "Options", settings: "Settings"
) -> "Tally":
    from pathlib import Path

    from etl.catalogue_run import catalogue, cluster
    from etl.extract import FolderSource, count_items
    from etl.folder import prune_folder
    from etl.progress_bar import bar

    folder = FolderSource(Path(arguments.folder))
    removed = prune_folder(database, folder) if arguments.prune else 0
    with bar(count_items(folder), shown=not arguments.json) as progress, cluster(settings.scheduler) as executor:
        tally = catalogue(folder, database, options, workers=arguments.workers, executor=executor, progress=progress)
    tally.removed = removed
    return tally


def _from_archive(
    arguments: argparse.Namespace, database: "Database", options: "Options", settings: "Settings"
) -> "Tally":
    from etl.catalogue_run import catalogue, cluster
    from etl.changes import ChangeLog, prune_archive
    from etl.extract import ArchiveSource, count_items
    from etl.progress_bar import bar
    from etl.study import content_of
    from minipacs.archive.client import Archive

    archive = Archive(settings)
    try:
        removed = prune_archive(archive, database) if arguments.prune else 0
        with cluster(settings.scheduler) as executor:
            how: dict[str, Any] = {"workers": arguments.workers, "executor": executor}
            if arguments.study or arguments.series:
                studies = content_of(archive, study=arguments.study or "", series=arguments.series or "")
                source = ArchiveSource(settings, studies, arguments.series or "")
                with bar(count_items(source), shown=not arguments.json) as progress:
                    tally = catalogue(source, database, options, progress=progress, **how)
            else:
                log = ChangeLog(settings, archive, database, options)
                with bar(None, shown=not arguments.json) as progress:
                    tally = log.catch_up(progress=progress, **how)
                    while arguments.follow:
                        time.sleep(settings.poll_s)
                        tally.add(log.catch_up(progress=progress, **how))
        tally.removed = removed
        return tally
    finally:
        archive.close()
