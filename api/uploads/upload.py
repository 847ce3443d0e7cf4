"""Upload: DICOM files, folders and ZIPs go to the archive, with a verdict for each file.

Everything is looked at before anything is stored: a ZIP that breaks a limit, or is broken itself, stores nothing.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from api.auth.roles import requires
from api.context import context
from api.uploads.received import look
from api.web.responses import wants_page
from minipacs.errors import BadRequest, MinipacsError, TooLarge

blueprint = Blueprint("upload", __name__)
ZIP = b"PK\x03\x04"


@dataclass
class Verdict:
    """What became of one file."""

    name: str
    verdict: str
    reason: str = ""
    kind: str = ""
    study: str = ""


@blueprint.get("/upload")
@requires("operator")
def form() -> ResponseReturnValue:
    """The page."""
    return render_template("upload.html", verdicts=None)


@blueprint.post("/")
@blueprint.post("/upload")
@requires("operator")
def upload() -> ResponseReturnValue:
    """Files of any multipart field: DICOM, with or without extension, or ZIPs of it."""
    settings = context().settings
    request.max_content_length = settings.upload_mb * 2**20
    request.max_form_parts = settings.upload_files
    asked_modality()
    verdicts = [v for name, stream in received() for v in taken(name, stream)]
    if not verdicts:
        raise BadRequest("There is no file in this upload.", "Send files as multipart/form-data, in any field.")
    stored = [v for v in verdicts if v.verdict == "stored"]
    studies = sorted({v.study for v in stored if v.study})
    status = 200 if stored else 422
    answer: dict[str, Any] = {
        "files": [asdict(v) for v in verdicts],
        "stored": len(stored),
        "refused": len(verdicts) - len(stored),
        "studies": studies,
    }
    if wants_page():
        return render_template("upload.html", verdicts=verdicts, **answer), status
    return answer, status


def asked_modality() -> str:
    """What volumes are taken for: CT, MR, or empty to guess."""
    modality = request.form.get("modality", "").strip().upper()
    if modality not in ("", "CT", "MR"):
        raise BadRequest(f"A volume cannot become {modality!r}.", "Send modality=CT or MR, or leave it out.")
    return modality


def received() -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every file sent, whatever its field is called."""
    sent = [file for field in request.files for file in request.files.getlist(field) if file.filename]
    most = context().settings.upload_files
    if len(sent) > most:
        raise TooLarge(f"{len(sent)} files at once; the limit is {most}.", "Send them in parts.")
    for file in sent:
        yield str(file.filename), file.stream


def taken(name: str, stream: IO[bytes]) -> list[Verdict]:
    """Store a file, or every file of a ZIP; a verdict each."""
    if stream.read(4) != ZIP:
        stream.seek(0)
        return [stored(name, stream.read())]
    stream.seek(0)
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = checked(name, archive)
            return [stored(f"{name}/{entry.filename}", archive.read(entry)) for entry in entries]
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        return [Verdict(name, "refused", f"The ZIP cannot be read ({error}).", "ZIP")]


def checked(name: str, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of a ZIP, after its limits, its encryption and its checksums were looked at."""
    entries = [e for e in archive.infolist() if not e.is_dir() and not e.filename.startswith("__MACOSX/")]
    packed, unpacked = sum(e.compress_size for e in entries), sum(e.file_size for e in entries)
    at = context().settings
    if len(entries) > at.upload_files:
        raise TooLarge(f"{name} holds {len(entries)} files; the limit is {at.upload_files}.", "Send it in parts.")
    if unpacked > at.upload_mb * 2**20 or unpacked > at.upload_ratio * max(packed, 1024):
        raise TooLarge(
            f"{name} would unpack to {unpacked / 2**20:.0f} MB, {unpacked / max(packed, 1):.0f} times its size; "
            f"the limits are {at.upload_mb} MB and {at.upload_ratio} times.",
            "Send the files without ZIP, or in parts.",
        )
    if any(e.flag_bits & 1 for e in entries):
        raise RuntimeError("it is encrypted")
    broken = archive.testzip()  # reads no more than file_size of each entry: the sizes above are the truth
    if broken is not None:
        raise zipfile.BadZipFile(f"{broken} has a wrong checksum")
    return entries


def stored(name: str, file: bytes) -> Verdict:
    """Store one file; why not, where not."""
    found = look(name, file, asked_modality())
    if isinstance(found, str):
        return Verdict(name, "refused", found)
    try:
        for instance in found.files:
            context().archive.store(instance)
    except MinipacsError as error:
        if error.status == 503:
            raise
        return Verdict(name, "refused", str(error), found.kind)
    return Verdict(name, "stored", found.remark, found.kind, found.study)
