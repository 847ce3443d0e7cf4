"""The prompt service over HTTP: JSON for the front door alone, on loopback, with a shared secret.

The front door has checked who the user is, and says so; nobody else has the secret.
"""

import hmac
import json
import logging
import re
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from minipacs.errors import BadRequest, MinipacsError, NotAllowed, NotFound, TooLarge
from segmentation.prompting.service import PromptService

MB = 2**20
MAX_BODY_BYTES = 4 * MB
MAX_PICTURE_BYTES = 96 * MB
"""Of an older client's request, which holds its picture."""
MAX_QUERY_CHARACTERS = 200
"""Of a search for terms; the rest is left out."""
IDLE_LIMIT_S = 120.0
"""A connection without a request is closed then."""

USER_HEADER = "X-Minipacs-User"
STUDY_HEADER = "X-Minipacs-Study"
"""For the front door's audit: the study that an answer is about."""

SESSION_PATH = re.compile(r"/prompts/([A-Za-z0-9_-]{8,64})(/accept)?")
PICTURE_PATH = re.compile(r"/(get_segmented_image|get_dicom_image)/([A-Za-z0-9_-]{8,64})/?")
INTERNAL_ERROR = {
    "code": "internal_error",
    "message": "The prompt service made a mistake.",
    "hint": "Its log has the details.",
}

log = logging.getLogger(__name__)

Response = tuple[int, Mapping[str, Any] | bytes]
"""Status, and JSON or the bytes of a picture or DICOM file."""


class PromptServer(ThreadingHTTPServer):
    """One thread a connection; the front door keeps a few."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], service: PromptService, key: str) -> None:
        self.service, self.key = service, key
        super().__init__(address, PromptRequestHandler)


class PromptRequestHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_LIMIT_S
    server: PromptServer

    def do_GET(self) -> None:
        """Serve what is only read."""
        self._handle_request()

    def do_POST(self) -> None:
        """Serve prompts, and accept an answer."""
        self._handle_request()

    def do_DELETE(self) -> None:
        """Discard a session."""
        self._handle_request()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests are in the front door's audit."""

    def _handle_request(self) -> None:
        content: Mapping[str, Any] | bytes
        try:
            status, content = self._make_response()
        except MinipacsError as error:
            status, content = error.status, error.as_json()
        except Exception:  # the outermost loop: one mistake must not end the service
            log.exception("%s %s", self.command, urlsplit(self.path).path)
            status, content = 500, {"error": INTERNAL_ERROR}

        if isinstance(content, bytes):
            body, media_type = content, "image/png" if content.startswith(b"\x89PNG") else "application/dicom"
        else:
            body, media_type = json.dumps(content, separators=(",", ":")).encode(), "application/json"

        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        if not isinstance(content, bytes) and "study_instance_uid" in content:
            self.send_header(STUDY_HEADER, str(content["study_instance_uid"]))

        self.end_headers()
        self.wfile.write(body)

    def _make_response(self) -> Response:
        body = self._read_body()
        url = urlsplit(self.path)
        if url.path == "/healthz":
            return 200, {"status": "ok"}

        user = self._authenticate()

        return self._route_request(user, url.path, parse_qs(url.query), body)

    def _authenticate(self) -> str:
        """The user whom the front door names; raises `NotAllowed`."""
        authorization = self.headers.get("Authorization", "")
        if not hmac.compare_digest(authorization.encode(), f"Bearer {self.server.key}".encode()):
            raise NotAllowed("The prompt service answers the front door alone.", "Ask the front door.")

        user = unquote(self.headers.get(USER_HEADER, ""))
        if not user:
            raise NotAllowed("No user is named.", "Ask the front door.")

        return user

    def _route_request(self, user: str, path: str, query: dict[str, list[str]], body: bytes) -> Response:
        service = self.server.service
        term = query.get("q", [""])[0][:MAX_QUERY_CHARACTERS]
        routes: dict[tuple[str, str], Callable[[], Response]] = {
            ("GET", "/prompts/engines"): lambda: (200, service.list_engines()),
            ("GET", "/prompts/terminology"): lambda: (200, service.search_terminology(term)),
            ("POST", "/prompts"): lambda: (200, service.answer_prompts(user, _parse_object(body))),
            ("POST", "/segment_input_image/"): lambda: (200, service.pictures.segment(user, _parse_object(body))),
        }
        if (self.command, path) in routes:
            return routes[self.command, path]()

        picture = PICTURE_PATH.fullmatch(path)
        if picture and self.command == "GET":
            result = service.pictures.get(user, picture.group(2))
            return 200, result.png if picture.group(1) == "get_segmented_image" else result.dicom

        session = SESSION_PATH.fullmatch(path)
        if session and self.command == "POST" and session.group(2):
            return 201, service.accept_answer(user, session.group(1), _parse_object(body))

        if session and self.command == "DELETE" and not session.group(2):
            service.discard_session(user, session.group(1))
            return 200, {"discarded": session.group(1)}

        raise NotFound(f"There is nothing at {path}.", "The documentation at /docs lists every route.")

    def _read_body(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        limit = MAX_PICTURE_BYTES if self.path == "/segment_input_image/" else MAX_BODY_BYTES
        if length > limit:
            self.close_connection = True
            raise TooLarge(f"A request has at most {limit // MB} MB.", "Send less at once.")

        return self.rfile.read(length)


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The request's body is not JSON.", "Send a JSON object.") from error

    if not isinstance(value, dict):
        raise BadRequest("The request's body is not a JSON object.", "Send a JSON object.")

    return value
