"""Files go out from here alone: below one root, never through a link, with Range, ETag and If-None-Match."""

import mimetypes
import os
from pathlib import Path

from flask import Response, send_file

from minipacs.errors import NotFound

TYPES = {
    ".glb": "model/gltf-binary",
    ".dcm": "application/dicom",
    ".nrrd": "application/octet-stream",
    ".gz": "application/gzip",
    ".json": "application/json",
}


def inside(root: Path, relative: str) -> Path:
    """The file or folder of this relative path below `root`; `NotFound` for anything that leads elsewhere.

    Refused: absolute paths, `..`, NUL, backslashes, hidden names, links on the way that lead out of the root.
    """
    parts = relative.split("/")
    if relative.startswith("/") or "\x00" in relative or "\\" in relative or any(p.startswith(".") for p in parts):
        raise _nothing()
    base = Path(os.path.realpath(root))
    try:
        path = Path(os.path.realpath(base / relative))
        there = path == base or (path.is_relative_to(base) and path.exists())
    except OSError:  # a name too long for the file system
        there = False
    if not there:
        raise _nothing()
    return path


def send(root: Path, relative: str, *, download_name: str = "") -> Response:
    """The file, whole or the range asked for; 304 when the client has it."""
    path = inside(root, relative)
    if not path.is_file():
        raise _nothing()
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    response = send_file(
        path, mimetype=kind, conditional=True, etag=True, download_name=download_name or path.name,
        as_attachment=bool(download_name), max_age=0,
    )  # fmt: skip
    response.headers.pop("Expires", None)  # Cache-Control says it
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-cache"
    if kind.startswith("text/html"):
        response.headers["Content-Security-Policy"] = "sandbox"
    return response


def _nothing() -> NotFound:
    return NotFound("There is no such file.", "The study's page and GET /files list what there is.")
