"""The older prompting client's routes: a picture and prompts in pixels; the results wait an hour for their user.

The picture is decoded and segmented by the prompt service; the front door never looks at its pixels.
"""

import json
from base64 import b64encode
from typing import TypedDict

import urllib3
from flask import Blueprint, Response, request
from msgspec import Struct

from api.auth.access import requires_role
from api.web.describe_route import MULTIPART, allows_unknown_names, answers, audits, discloses_nothing, takes_body
from api.work.prompts import request_prompt_service
from minipacs.errors import BadRequest

blueprint = Blueprint("older_prompts", __name__)
MAX_FILE_BYTES = 64 * 2**20


class SegmentedPicture(TypedDict):
    """The name of the result, and the engine that made it."""

    timestamp: str
    engine: str


class ServiceStatus(TypedDict):
    """That the prompt service answers."""

    status: str


class PictureRequest(Struct):
    """The prompts, as JSON; the picture is a file of any field."""

    sam_input: str = ""
    """The prompts, as JSON text, in pixels."""


def allow_large_file() -> None:
    """Let a picture be larger than other bodies."""
    request.max_content_length = MAX_FILE_BYTES


@blueprint.post("/segment_input_image/")
@allows_unknown_names
@requires_role("annotator")
@audits("segment")
@takes_body(PictureRequest, MULTIPART, before_reading=allow_large_file)
@answers(SegmentedPicture)
def segment_picture(body: PictureRequest) -> Response:
    """A PNG, JPEG or DICOM file, and the form field `sam_input` with the prompts as JSON.

    `{model, rectangles: [{startX, startY, width, height}], positive_points: [{x, y}], negative_points: […]}`,
    in pixels from the upper left corner → `{"timestamp", "engine"}`.
    """
    files = [file for field in request.files for file in request.files.getlist(field)]
    if len(files) != 1:
        raise BadRequest(f"There are {len(files)} files.", "Send one PNG, JPEG or DICOM file.")
    prompts = body.sam_input or next(iter(request.form.values()), "")
    if not prompts:
        raise BadRequest("There are no prompts.", "Send them as JSON in the form field `sam_input`.")
    message = json.dumps({"file": b64encode(files[0].read()).decode(), "asked": prompts}).encode()
    return _to_flask_response(request_prompt_service("POST", "/segment_input_image/", message))


@blueprint.get("/get_segmented_image/<timestamp>")
@allows_unknown_names
@answers("image/png")
def segmented_image(timestamp: str) -> Response:
    """The picture with the segment in red, as PNG."""
    return _to_flask_response(request_prompt_service("GET", f"/get_segmented_image/{_replace_unsafe_name(timestamp)}"))


@blueprint.get("/get_dicom_image/<timestamp>")
@allows_unknown_names
@answers("application/dicom")
def dicom_image(timestamp: str) -> Response:
    """The result as DICOM: a SEG of the DICOM image that was sent, else a Secondary Capture of no patient."""
    return _to_flask_response(request_prompt_service("GET", f"/get_dicom_image/{_replace_unsafe_name(timestamp)}"))


@blueprint.get("/health_check/")
@discloses_nothing
@allows_unknown_names
@answers(ServiceStatus)
def health_check() -> Response:
    """Whether the prompt service answers."""
    return _to_flask_response(request_prompt_service("GET", "/healthz"))


def _to_flask_response(answer: urllib3.BaseHTTPResponse) -> Response:
    return Response(answer.data, answer.status, content_type=answer.headers.get("Content-Type"))


def _replace_unsafe_name(name: str) -> str:
    """A name as our identifiers are; anything else is answered like an unknown one."""
    return name if name.isascii() and name.replace("-", "").replace("_", "").isalnum() else "unknown-name"
