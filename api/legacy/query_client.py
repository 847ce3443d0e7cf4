"""The older query client's routes: what runs, the names of all result files, a file, a QR code, a picture's data."""

from typing import TypedDict

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from msgspec import Struct
from sqlalchemy import func, select

from api.auth.access import requires_role
from api.catalogue import lookups
from api.catalogue.answer_types import PictureDetails
from api.context import context
from api.results.file_list import list_result_files
from api.results.result_folders import resolve_result_path
from api.results.shares import DEFAULT_S, NewShare, create_share, new_share_json
from api.uploads.upload import UploadAnswer, allow_large_upload, receive_upload
from api.web.describe_route import (
    ANY,
    MULTIPART,
    allows_unknown_names,
    answers,
    audits,
    changes_something,
    takes_body,
    takes_query,
)
from api.web.disclosed import note_disclosed
from api.web.file_responses import send_from
from api.web.row_json import JsonRow
from minipacs.errors import NotFound
from minipacs.jobs.record import Job

blueprint = Blueprint("query_client", __name__)


class WorkStatus(TypedDict):
    """Whether there is new work, what runs, how much waits."""

    new_files: bool
    current_file: str | None
    queue_size: int


class NothingDeleted(TypedDict):
    """That all is well."""

    status: str
    message: str


class FileNameParameters(Struct):
    """The file that is shared."""

    filename: str = ""
    """Its name below the results folder."""


@blueprint.get("/status")
@allows_unknown_names
@answers(WorkStatus)
def work_status() -> WorkStatus:
    """Whether there is new work, what runs, how much waits."""
    with context().database.reading() as session:
        running = session.scalar(select(Job.study_instance_uid).where(Job.state == "running").order_by(Job.id).limit(1))
        waiting = session.scalar(select(func.count()).where(Job.state == "queued")) or 0
    note_disclosed([running])
    return {"new_files": bool(waiting or running), "current_file": running, "queue_size": waiting}


@blueprint.get("/jsonlist")
@allows_unknown_names
@answers(list[str])
def file_names() -> list[str]:
    """The names of all result files."""
    return [file["name"] for file in list_result_files()]


@blueprint.get("/download/<path:filename>")
@allows_unknown_names
@audits("download")
@answers(ANY)
def download_result_file(filename: str) -> Response:
    """A result file, as an attachment."""
    path = resolve_result_path(filename)
    return send_from(path.parent, path.name, download_name=path.name)


@blueprint.get("/qr")
@changes_something
@allows_unknown_names
@requires_role("operator")
@audits("share")
@takes_query(FileNameParameters)
@answers(NewShare)
def share_file(query: FileNameParameters) -> NewShare:
    """`?filename=` → a share of that file and its QR code as base64 PNG."""
    return new_share_json(create_share([query.filename], DEFAULT_S))


@blueprint.post("/delete_zip")
@allows_unknown_names
@requires_role("operator")
@audits("share")
@answers(NothingDeleted)
def answer_delete_zip() -> NothingDeleted:
    """Our ZIPs are made while they are sent; there is none to delete."""
    return {"status": "success", "message": "ZIPs are not kept."}


@blueprint.get("/imageinfo/<path:filename>")
@allows_unknown_names
@answers(PictureDetails)
def image_info(filename: str) -> JsonRow:
    """What a PNG shows, by its name with or without folder and extension; or by SOP Instance UID."""
    row = lookups.find_picture(context(), filename)
    if row is None:
        raise NotFound(f"There is no PNG {filename!r}.", "Give the name of a file below the PNG folder.")
    note_disclosed([row["StudyInstanceUID"]])
    return row


class LegacyUploadFields(Struct):
    """Beside the files, of any field: what volumes are taken for; empty to guess."""

    modality: str = ""
    """What volumes are taken for, CT or MR; empty to guess."""
    group: str = ""
    """The group that their studies go into; empty for none, or for the one group of a user who sees that alone."""


@blueprint.post("/")
@allows_unknown_names
@requires_role("operator")
@audits("upload")
@takes_body(LegacyUploadFields, MULTIPART, before_reading=allow_large_upload)
@answers(UploadAnswer, page="upload.html", errors={422: UploadAnswer})
def upload_at_root(body: LegacyUploadFields) -> ResponseReturnValue:
    """The same as `POST /upload`."""
    return receive_upload(body.modality, body.group)
