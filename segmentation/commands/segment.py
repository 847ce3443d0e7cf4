"""`minipacs segment`: the pipeline from the command line, with or without an archive."""

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from minipacs.audit.command_act import CommandAct
from minipacs.errors import BadRequest, NotAVolume, Unreadable
from minipacs.formats.dicom_file import read_dicom
from minipacs.formats.parsing import translate_parser_errors
from minipacs.formats.uids import is_uid
from minipacs.result_paths import make_series_folder
from minipacs.settings import Settings
from segmentation.results.seg_type import SEG_TYPES

if TYPE_CHECKING:
    from minipacs.archive.client import Archive
    from minipacs.database import Database
    from segmentation.engine import Progress
    from segmentation.results.manifest import Manifest

HELP = "segment a study of the archive, a folder of DICOM files, or a NIfTI or NRRD file"
UID = re.compile(r"[0-9]+(\.[0-9]+)+")


def configure(parser: argparse.ArgumentParser) -> None:
    """STUDY|FOLDER|FILE [--engine NAME] [--out DIR] [--type TYPE] [--mrb] [--modality MODALITY]."""
    parser.add_argument("source", help="Study Instance UID, folder of DICOM files, .nii.gz, .nii or .nrrd file")
    parser.add_argument("--engine", help="segmentation engine (default: MINIPACS_ENGINE, and the rules)")
    parser.add_argument("--out", type=Path, help="folder for the results, one below it a series (default: ./segmented)")
    parser.add_argument("--type", choices=SEG_TYPES, help="form of the DICOM SEG (default: the rules')")
    parser.add_argument("--mrb", action="store_true", help="write 3D Slicer's whole scene too, scene.mrb")
    parser.add_argument("--modality", default="", help="of a file that is not DICOM (default: CT where values say so)")


def describe_act(arguments: argparse.Namespace) -> CommandAct | None:
    """For the audit: a study of the archive; files of others are no matter of it."""
    is_study = UID.fullmatch(arguments.source) and not Path(arguments.source).exists()
    return CommandAct("segment", f"segment {arguments.source}", (arguments.source,)) if is_study else None


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """0 when something was segmented."""
    settings = replace(settings, engine=arguments.engine) if arguments.engine else settings
    if not settings.engine:
        raise BadRequest("No engine is named.", "Give --engine, or set MINIPACS_ENGINE; minipacs engines lists them.")

    source = Path(arguments.source)
    if source.exists():
        return _segment_files(source, arguments, settings)

    if UID.fullmatch(arguments.source):
        return _segment_study(arguments.source, arguments, settings)

    raise BadRequest(f"{arguments.source} is neither a file, a folder nor a UID.", "minipacs segment --help.")


# -- without an archive -----------------------------------------------------------------------------
@dataclass(frozen=True)
class _FileGroup:
    """The files of one series, or one volume file."""

    files: list[Path]
    digest: str
    """Of the series' SOP Instance UIDs, or of the file's content."""


def _segment_files(source: Path, arguments: argparse.Namespace, settings: Settings) -> int:
    from minipacs.archive.content import uids_digest
    from segmentation.series_volume import is_single_volume_file

    if is_single_volume_file(source):
        groups = {source.name: _FileGroup([source], uids_digest([_digest_content(source)]))}
    else:
        groups = _group_files_by_series(source)

    if not groups:
        raise BadRequest(f"{source.name} holds no DICOM images.", "Give a folder of DICOM files.")

    segmented = [_segment_file_group(name, group, arguments, settings) for name, group in groups.items()]

    return 0 if any(segmented) else 1


def _segment_file_group(name: str, group: _FileGroup, arguments: argparse.Namespace, settings: Settings) -> bool:
    """Segment one series and print what was found; False, and the reason printed, where it is no volume."""
    from segmentation.job import parent
    from segmentation.job.request import SegmentationRequest

    folder = (arguments.out or Path("segmented")) / name

    with _show_progress_bar(name) as progress, TemporaryDirectory(prefix="minipacs-") as temporary:
        request = SegmentationRequest(
            files=[file.resolve() for file in group.files],
            digest=group.digest,
            engine=settings.engine,
            out=Path(temporary, "results"),
            options={"type": arguments.type, "modality": arguments.modality, "mrb": arguments.mrb},
        )
        try:
            manifest = parent.run_in_child(request, settings, progress, Path(temporary, "log"))
        except NotAVolume as refusal:
            print(f"{name}: {refusal.message}")
            return False

        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(request.out, folder)

    _print_result(name, manifest, folder)

    return True


def _group_files_by_series(folder: Path) -> dict[str, _FileGroup]:
    """The DICOM images below a folder that are not ours, by Series Instance UID."""
    from minipacs.archive.content import MANUFACTURER, uids_digest

    series: dict[str, list[tuple[str, Path]]] = {}
    files = [folder] if folder.is_file() else sorted(file for file in folder.rglob("*") if file.is_file())

    for file in files:
        try:
            with translate_parser_errors(f"{file.name} has a broken element"):
                header = read_dicom(file, file.name, stop_before_pixels=True)
                if "Rows" in header and header.get("Manufacturer") != MANUFACTURER:
                    uid = str(header.get("SOPInstanceUID") or header.file_meta.get("MediaStorageSOPInstanceUID", ""))
                    name = _name_folder(str(header.get("SeriesInstanceUID") or ""))
                    series.setdefault(name, []).append((uid, file))
        except Unreadable:
            continue

    return {
        name: _FileGroup([file for _, file in images], uids_digest(uid for uid, _ in images))
        for name, images in series.items()
    }


def _name_folder(series_instance_uid: str) -> str:
    """The folder of a series' results: its UID, or a name made of what stands there where that is no UID."""
    if not series_instance_uid or is_uid(series_instance_uid):
        return series_instance_uid or "series"
    return f"series-{sha256(series_instance_uid.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _digest_content(file: Path) -> str:
    from hashlib import file_digest

    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


# -- from the archive -------------------------------------------------------------------------------
class _CommandTask:
    """A task of `job/work.py` without a job: its progress goes to the terminal."""

    def __init__(
        self, settings: Settings, archive: "Archive", database: "Database", args: dict[str, Any], progress: "Progress"
    ) -> None:
        self.settings, self.archive, self.database, self.args = settings, archive, database, args
        self._progress = progress

    def progress(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        """Move the bar."""
        self._progress(f"{note}: {stage}" if note else stage, done, total)


def _segment_study(uid: str, arguments: argparse.Namespace, settings: Settings) -> int:
    from minipacs.archive.client import Archive
    from minipacs.database import Database
    from segmentation.job import work

    archive, database = Archive(settings), Database(settings.database_url)
    database.upgrade_schema()
    options = {"mrb": arguments.mrb} | ({"type": arguments.type} if arguments.type else {})
    args = {"study_instance_uid": uid, "options": options}

    try:
        with _show_progress_bar(uid) as progress:
            answer = work.run(_CommandTask(settings, archive, database, args, progress))
    finally:
        archive.close()
        database.close()

    for result in answer["segmentations"]:
        folder = make_series_folder(settings, uid, result["series"]) / result["engine"]
        if arguments.out:
            shutil.copytree(folder, arguments.out / result["series"], dirs_exist_ok=True)
            folder = arguments.out / result["series"]
        print(f"{result['series']}: {', '.join(result['segments'])} → {folder}")

    print(answer["summary"])

    return 0 if answer["segmentations"] else 1


# -- the terminal -----------------------------------------------------------------------------------
@contextmanager
def _show_progress_bar(name: str) -> Iterator["Progress"]:
    """A progress bar on standard error; only stages are counted, where an engine does not know better."""
    from tqdm import tqdm

    with tqdm(file=sys.stderr, leave=False, bar_format="{desc}{bar:20} {elapsed}", disable=None) as bar:

        def show(stage: str, done: int = 0, total: int = 0) -> None:
            bar.total, bar.n = (total, done) if total else (1, 0)
            bar.set_description_str(f"{name[-24:]} {stage:20.20s} ")

        yield show


def _print_result(name: str, manifest: "Manifest", folder: Path) -> None:
    print(f"{name}: {manifest['seconds']:.1f} s → {folder}")
    for segment in manifest["segments"]:
        print(f"  {segment['label']:28s} {segment['volume_ml']:10.1f} mL")
