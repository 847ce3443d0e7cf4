"""Files are sent from here alone: below one root, never through a link, with Range, ETag and If-None-Match."""

import mimetypes
import os
from pathlib import Path

from flask import Response, send_file

from minipacs.errors import NotFound

MEDIA_TYPES = {
    ".glb": "model/gltf-binary",
    ".dcm": "application/dicom",
    ".nrrd": "application/octet-stream",
    ".gz": "application/gzip",
    ".json": "application/json",
}


def resolve_below(root: Path, relative: str) -> Path:
    """The file or folder of this relative path below `root`; `NotFound` for anything that leads elsewhere.

    Refused: absolute paths, `..`, NUL, backslashes, hidden names, links on the way that lead out of the root.
    """
    has_hidden_part = any(part.startswith(".") for part in relative.split("/"))
    if relative.startswith("/") or "\x00" in relative or "\\" in relative or has_hidden_part:
        raise _no_such_file()

    base = Path(os.path.realpath(root))
    try:
        path = Path(os.path.realpath(base / relative))
        is_there = path == base or (path.is_relative_to(base) and path.exists())
    except OSError:  # a name too long for the file system
        is_there = False
    if not is_there:
        raise _no_such_file()
    return path


def send_from(root: Path, relative: str, *, download_name: str = "") -> Response:
    """The file of this relative path below `root`, whole or the range of the request; 304 when the client has it."""
    path = resolve_below(root, relative)
    if not path.is_file():
        raise _no_such_file()

    media_type = MEDIA_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    response = send_file(
        path,
        mimetype=media_type,
        conditional=True,
        etag=True,
        download_name=download_name or path.name,
        as_attachment=bool(download_name),
        max_age=0,
    )
    response.headers.pop("Expires", None)  # Cache-Control says it
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-cache"
    if media_type.startswith("text/html"):
        response.headers["Content-Security-Policy"] = "sandbox"
    return response


def _no_such_file() -> NotFound:
    return NotFound("There is no such file.", "The study's page and GET /files list what there is.")
