"""Upload: DICOM files, folders and ZIPs go to the archive, with a verdict for each file.

Everything is looked at before anything is stored: a ZIP that breaks a limit, or is broken itself, stores nothing.
"""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import SEEK_END
from typing import IO, TypedDict

from flask import Blueprint, g, request
from flask.typing import ResponseReturnValue

from api.auth.access import requires_role
from api.context import context
from api.uploads.assign_to_group import assign_to_group, choose_group, list_groups_to_store_in
from api.uploads.examine import ZIP_MAGIC, examine_file
from api.uploads.received import RefusedFile
from api.uploads.upload_file import check_free_space
from api.uploads.zip_check import check_zip, open_zip
from api.web.describe_route import MULTIPART, BodyFields, answers, audits, discloses_nothing, takes_body
from api.web.disclosed import note_disclosed
from api.web.responses import render_page, send_json_or_page
from minipacs.errors import BadRequest, ExceedsMemory, MinipacsError, TooLarge, Unreadable
from minipacs.formats.parsing import translate_parser_errors
from minipacs.memory.process_limit import explain_memory_error
from minipacs.memory.size_limits import check_object_size

blueprint = Blueprint("upload", __name__)


@dataclass
class Verdict:
    """What became of one file."""

    name: str
    verdict: str
    reason: str = ""
    kind: str = ""
    study: str = ""


class UploadAnswer(TypedDict):
    """A verdict for each file, and the studies that were stored."""

    files: list[Verdict]
    stored: int
    refused: int
    studies: list[str]


class UploadFields(BodyFields):
    """Beside the files, of any field: what volumes are taken for, and the group of their studies."""

    modality: str = ""
    """What volumes are taken for, CT or MR; empty to guess."""
    group: str = ""
    """The group that their studies go into; empty for none, or for the one group of a user who sees that alone."""


def allow_large_upload() -> None:
    """Set the limits of an upload, as the administrator wants them. Raises `DiskFull` where it has no room."""
    settings = context().settings
    request.max_content_length = settings.upload_mb * 2**20
    request.max_form_parts = settings.upload_files
    check_free_space(settings, min(request.content_length or 0, request.max_content_length))


@blueprint.get("/upload")
@discloses_nothing
@requires_role("operator")
@answers(page="upload.html")
def upload_form() -> str:
    """The page."""
    return render_page({"verdicts": None, "groups": list_groups_to_store_in()})


@blueprint.post("/upload")
@requires_role("operator")
@audits("upload")
@takes_body(UploadFields, MULTIPART, before_reading=allow_large_upload)
@answers(UploadAnswer, page="upload.html", errors={422: UploadAnswer})
def upload(body: UploadFields) -> ResponseReturnValue:
    """Files of any multipart field: DICOM, with or without extension, or ZIPs of it."""
    return receive_upload(body.modality, body.group)


def receive_upload(modality: str, group: str) -> ResponseReturnValue:
    """Store the files of this request; a verdict for each."""
    modality = parse_modality(modality)
    g.group_of_upload = choose_group(group.strip())
    verdicts = [v for name, stream in uploaded_files() for v in store_file_or_zip(name, stream, modality)]
    if not verdicts:
        raise BadRequest("There is no file in this upload.", "Send files as multipart/form-data, in any field.")

    stored = [v for v in verdicts if v.verdict == "stored"]
    note_disclosed((v.study for v in stored), rows=len(verdicts))
    answer: UploadAnswer = {
        "files": verdicts,
        "stored": len(stored),
        "refused": len(verdicts) - len(stored),
        "studies": sorted({v.study for v in stored if v.study}),
    }
    page_only = {"verdicts": verdicts, "groups": list_groups_to_store_in()}
    return send_json_or_page(answer, lambda: page_only, status=200 if stored else 422)


def parse_modality(text: str) -> str:
    """What volumes are taken for: CT, MR, or empty to guess."""
    modality = text.strip().upper()
    if modality not in ("", "CT", "MR"):
        raise BadRequest(f"A volume cannot become {modality!r}.", "Send modality=CT or MR, or leave it out.")
    return modality


def uploaded_files() -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every file sent, whatever its field is called."""
    sent = [file for field in request.files for file in request.files.getlist(field) if file.filename]
    most = context().settings.upload_files
    if len(sent) > most:
        raise TooLarge(f"{len(sent)} files at once; the limit is {most}.", "Send them in parts.")
    for file in sent:
        yield str(file.filename), file.stream


def store_file_or_zip(name: str, stream: IO[bytes], modality: str) -> list[Verdict]:
    """Store a file, or every file of a ZIP; a verdict each."""
    if stream.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
        size = stream.seek(0, SEEK_END)
        stream.seek(0)
        return [store_file_of_size(name, size, stream.read, modality)]
    stream.seek(0)
    try:
        with translate_parser_errors("The ZIP cannot be read", quote=True):
            archive = open_zip(stream, context().settings)
            entries = check_zip(name, archive, context().settings)
    except Unreadable as error:
        return [Verdict(name, "refused", error.message, "ZIP")]
    with archive:
        return [store_zip_entry(name, archive, entry, modality) for entry in entries]


def store_zip_entry(name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, modality: str) -> Verdict:
    """Store one file of a ZIP; why not, where not."""
    return store_file_of_size(f"{name}/{entry.filename}", entry.file_size, partial(archive.read, entry), modality)


def store_file_of_size(name: str, size: int, read: Callable[[], bytes], modality: str) -> Verdict:
    """Store one file, which is read, or unpacked, only where an object may be so large."""
    try:
        check_object_size(size, "The file")
        with translate_parser_errors("It cannot be unpacked"):
            file = read()
    except ExceedsMemory as error:
        return Verdict(name, "refused", str(error))
    except Unreadable as error:
        return Verdict(name, "refused", error.message)

    try:
        return store_file(name, file, modality)
    except MemoryError:  # of this file; the others of the upload have their verdicts
        return Verdict(name, "refused", str(explain_memory_error()))


def store_file(name: str, file: bytes, modality: str) -> Verdict:
    """Store one file; why not, where not."""
    found = examine_file(name, file, modality)
    if isinstance(found, RefusedFile):
        return Verdict(name, "refused", found.reason)
    try:
        with assign_to_group(found.study, g.group_of_upload):
            for instance in found.instances:
                context().archive.store_file(instance)
    except MinipacsError as error:
        if error.status == 503:
            raise
        return Verdict(name, "refused", str(error), found.kind)
    return Verdict(name, "stored", found.remark, found.kind, found.study)
