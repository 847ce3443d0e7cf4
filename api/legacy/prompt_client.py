"""The older prompting client's routes: a picture and prompts in pixels; the results wait an hour for their user.

The picture is decoded and segmented by the prompt service; the front door never looks at its pixels.
"""

import json
from base64 import b64encode

import urllib3
from flask import Blueprint, Response, request

from api.auth.roles import requires
from api.work.prompts import handed
from minipacs.errors import BadRequest

blueprint = Blueprint("older_prompts", __name__)
MOST_FILE = 64 * 2**20


@blueprint.post("/segment_input_image/")
@requires("annotator")
def segment() -> Response:
    """A PNG, JPEG or DICOM file, and the form field `sam_input` with the prompts as JSON.

    `{model, rectangles: [{startX, startY, width, height}], positive_points: [{x, y}], negative_points: […]}`,
    in pixels from the upper left corner → `{"timestamp", "engine"}`.
    """
    request.max_content_length = MOST_FILE
    files = [file for field in request.files for file in request.files.getlist(field)]
    if len(files) != 1:
        raise BadRequest(f"There are {len(files)} files.", "Send one PNG, JPEG or DICOM file.")
    asked = request.form.get("sam_input") or next(iter(request.form.values()), "")
    if not asked:
        raise BadRequest("There are no prompts.", "Send them as JSON in the form field `sam_input`.")
    body = json.dumps({"file": b64encode(files[0].read()).decode(), "asked": asked}).encode()
    return _given(handed("POST", "/segment_input_image/", body))


@blueprint.get("/get_segmented_image/<timestamp>")
def segmented_image(timestamp: str) -> Response:
    """The picture with the segment in red, as PNG."""
    return _given(handed("GET", f"/get_segmented_image/{_plain(timestamp)}"))


@blueprint.get("/get_dicom_image/<timestamp>")
def dicom_image(timestamp: str) -> Response:
    """The result as DICOM: a SEG of the DICOM image that was sent, else a Secondary Capture of no patient."""
    return _given(handed("GET", f"/get_dicom_image/{_plain(timestamp)}"))


@blueprint.get("/health_check/")
def health_check() -> Response:
    """Whether the prompt service answers."""
    return _given(handed("GET", "/healthz"))


def _given(answer: urllib3.BaseHTTPResponse) -> Response:
    return Response(answer.data, answer.status, content_type=answer.headers.get("Content-Type"))


def _plain(name: str) -> str:
    """A name as our identifiers are; anything else is answered like an unknown one."""
    return name if name.isascii() and name.replace("-", "").replace("_", "").isalnum() else "unknown-name"
