"""The viewer: the prepared OHIF build below /ohif/, with our configuration.

Names with a content hash are cached for a year; browsers ask for everything else again, by its ETag. The
compressed files stand beside the plain ones, so that no request waits for a compression.
"""

import base64
import hashlib
import re
from functools import lru_cache
from pathlib import Path

from flask import Blueprint, Response, request, send_file
from werkzeug.security import safe_join

from api.context import context
from minipacs.errors import NotFound, ViewerMissing
from minipacs.settings import ROOT

blueprint = Blueprint("ohif", __name__, url_prefix="/ohif")

HASHED = re.compile(r"(\.[0-9a-f]{16}\.js|(^|/)[0-9a-f]{16}\.(wasm|woff2))$")
FILE_NAME = re.compile(r"\.[a-z0-9]{2,5}$")
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
MEDIA_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' 'unsafe-eval'{hashes}; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'self'; form-action 'self'"
)
"""What OHIF 3.13 needs: it decodes in WebAssembly, starts workers from blobs and sets styles. To read a SEG, its
library `ndarray` makes functions of text (`unsafe-eval`). Inline scripts run by their digest: no `unsafe-inline`."""
INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
YEAR_S = 31_536_000


@blueprint.get("/", defaults={"name": "index.html"})
@blueprint.get("/<path:name>")
def viewer_file(name: str) -> Response:
    """A file of the build; a path of the viewer's own router (study list, viewer) answers with its page."""
    if name == "app-config.js":
        return _send_smallest(ROOT / "ohif_config" / "app-config.js", immutable=False)
    if name.startswith("extension/"):
        return _send_smallest(_path_below(ROOT / "ohif_config", name), immutable=False)

    build = context().settings.ohif
    if not (build / "index.html").is_file():
        raise ViewerMissing("The viewer (OHIF) is not installed here.", "Run scripts/up, which prepares it.")

    path = _path_below(build, name)
    if path.is_file():
        return _send_smallest(path, immutable=bool(HASHED.search(name)))
    if FILE_NAME.search(name):
        raise NotFound(f"The viewer has no file {name}.", "Reload the page.")
    return _send_smallest(build / "index.html", immutable=False)


def _path_below(folder: Path, name: str) -> Path:
    """The path, never outside the folder."""
    joined = safe_join(str(folder), name)
    if joined is None or not Path(joined).resolve().is_relative_to(folder.resolve()):
        raise NotFound(f"The viewer has no file {name}.", "Reload the page.")
    return Path(joined)


def _send_smallest(path: Path, *, immutable: bool) -> Response:
    """The smallest form the client takes, with the headers that let it keep the file."""
    if not path.is_file():
        raise NotFound(f"The viewer has no file {path.name}.", "Reload the page.")

    smallest, encoding = _smallest_form(path)
    media_type = MEDIA_TYPES.get(path.suffix, "application/octet-stream")
    response = send_file(smallest, mimetype=media_type, conditional=True, etag=True)
    if encoding:
        response.headers["Content-Encoding"] = encoding
    stat = path.stat()
    hashes = hash_inline_scripts(path, stat.st_mtime_ns, stat.st_size) if path.suffix == ".html" else ""
    response.headers["Content-Security-Policy"] = POLICY.format(hashes=hashes)
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = f"private, max-age={YEAR_S}, immutable" if immutable else "no-cache"
    return response


@lru_cache(maxsize=16)
def hash_inline_scripts(page: Path, _mtime_ns: int, _size: int) -> str:
    """The scripts that stand in a page of the build, as sources of a policy (CSP3 2.3.1): they alone may run."""
    digests = [hashlib.sha256(script).digest() for script in INLINE_SCRIPT.findall(page.read_bytes()) if script]
    return "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def _smallest_form(path: Path) -> tuple[Path, str]:
    """The compressed file beside this one that the client takes, and its encoding; else the file itself and ""."""
    for encoding, suffix in ENCODINGS:
        compressed = path.with_name(path.name + suffix)
        if request.accept_encodings.quality(encoding) and compressed.is_file():
            return compressed, encoding
    return path, ""
