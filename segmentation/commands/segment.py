"""`minipacs segment`: the pipeline from the command line, with or without an archive."""

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from minipacs.errors import BadRequest, NotAVolume
from minipacs.settings import Settings
from segmentation.job.rules import TYPES

if TYPE_CHECKING:
    from minipacs.archive.client import Archive
    from minipacs.database import Database

HELP = "segment a study of the archive, a folder of DICOM files, or a NIfTI or NRRD file"
UID = re.compile(r"[0-9]+(\.[0-9]+)+")

Told = Callable[[str, int, int], None]


def configure(parser: argparse.ArgumentParser) -> None:
    """STUDY|FOLDER|FILE [--engine NAME] [--out DIR] [--type TYPE] [--mrb] [--modality MODALITY]."""
    parser.add_argument("source", help="Study Instance UID, folder of DICOM files, .nii.gz, .nii or .nrrd file")
    parser.add_argument("--engine", help="segmentation engine (default: MINIPACS_ENGINE, and the rules)")
    parser.add_argument("--out", type=Path, help="folder for the results, one below it a series (default: ./segmented)")
    parser.add_argument("--type", choices=TYPES, help="form of the DICOM SEG (default: the rules')")
    parser.add_argument("--mrb", action="store_true", help="write 3D Slicer's whole scene too, scene.mrb")
    parser.add_argument("--modality", default="", help="of a file that is not DICOM (default: CT where values say so)")


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
def _segment_files(source: Path, arguments: argparse.Namespace, settings: Settings) -> int:
    from minipacs.archive.content import uids_digest
    from segmentation.job import parent
    from segmentation.series_volume import is_image_file

    out = arguments.out or Path("segmented")
    groups = {source.name: ([source], uids_digest([_content(source)]))} if is_image_file(source) else _series(source)
    if not groups:
        raise BadRequest(f"{source.name} holds no DICOM images.", "Give a folder of DICOM files.")
    made = 0
    for name, (files, made_of) in groups.items():
        with _bar(name) as tell, TemporaryDirectory(prefix="minipacs-") as temporary:
            request = parent.Request(
                files=[file.resolve() for file in files],
                digest=made_of,
                engine=settings.engine,
                out=Path(temporary, "results"),
                options={"type": arguments.type, "modality": arguments.modality, "mrb": arguments.mrb},
            )
            try:
                manifest = parent.run(request, settings, tell, Path(temporary, "log"))
            except NotAVolume as refusal:
                print(f"{name}: {refusal.message}")
                continue
            folder = out / name
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(request.out, folder)
        made += 1
        _tell(name, manifest, folder)
    return 0 if made else 1


def _series(folder: Path) -> dict[str, tuple[list[Path], str]]:
    """The DICOM images below a folder, by a name for their series; and the digest of their UIDs."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    from minipacs.archive.content import MANUFACTURER, uids_digest

    found: dict[str, list[tuple[str, Path]]] = {}
    files = [folder] if folder.is_file() else sorted(f for f in folder.rglob("*") if f.is_file())
    for file in files:
        try:
            header = dcmread(file, stop_before_pixels=True)
        except (InvalidDicomError, EOFError):
            continue
        if "Rows" in header and header.get("Manufacturer") != MANUFACTURER:
            uid = str(header.get("SOPInstanceUID") or header.file_meta.get("MediaStorageSOPInstanceUID", ""))
            found.setdefault(str(header.get("SeriesInstanceUID") or "series"), []).append((uid, file))
    return {name: ([file for _, file in of], uids_digest(uid for uid, _ in of)) for name, of in found.items()}


def _content(file: Path) -> str:
    from hashlib import file_digest

    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


# -- from the archive -------------------------------------------------------------------------------
class _CommandTask:
    """What a running job has at hand, without a job: progress goes to the terminal."""

    def __init__(
        self, settings: Settings, archive: "Archive", database: "Database", args: dict[str, Any], tell: Told
    ) -> None:
        self.settings, self.archive, self.database, self.args = settings, archive, database, args
        self._tell = tell

    def progress(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        """Move the bar."""
        self._tell(f"{note}: {stage}" if note else stage, done, total)


def _segment_study(uid: str, arguments: argparse.Namespace, settings: Settings) -> int:
    from minipacs.archive.client import Archive
    from minipacs.database import Database
    from segmentation.job import work
    from segmentation.results import store

    archive, database = Archive(settings), Database(settings.database_url)
    database.create()
    options = {"mrb": arguments.mrb} | ({"type": arguments.type} if arguments.type else {})
    args = {"study_instance_uid": uid, "options": options}
    try:
        with _bar(uid) as tell:
            answer = work.run(_CommandTask(settings, archive, database, args, tell))
    finally:
        archive.close()
        database.close()
    for made in answer["segmentations"]:
        folder = store.root(settings) / uid / made["series"] / made["engine"]
        if arguments.out:
            shutil.copytree(folder, arguments.out / made["series"], dirs_exist_ok=True)
            folder = arguments.out / made["series"]
        print(f"{made['series']}: {', '.join(made['segments'])} → {folder}")
    print(answer["summary"])
    return 0 if answer["segmentations"] else 1


# -- the terminal -----------------------------------------------------------------------------------
@contextmanager
def _bar(name: str) -> Iterator[Told]:
    """A progress bar on standard error; only stages are counted, where an engine does not know better."""
    from tqdm import tqdm

    with tqdm(file=sys.stderr, leave=False, bar_format="{desc}{bar:20} {elapsed}", disable=None) as bar:

        def tell(stage: str, done: int, total: int) -> None:
            bar.total, bar.n = (total, done) if total else (1, 0)
            bar.set_description_str(f"{name[-24:]} {stage:20.20s} ")

        yield tell


def _tell(name: str, manifest: dict[str, Any], folder: Path) -> None:
    print(f"{name}: {manifest['seconds']:.1f} s → {folder}")
    for segment in manifest["segments"]:
        print(f"  {segment['label']:28s} {segment['volume_ml']:10.1f} mL")
