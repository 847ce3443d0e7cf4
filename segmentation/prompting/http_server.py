"""The prompt service's wire: JSON over HTTP for the front door alone, on loopback, with a shared secret.

The front door has checked who asks, and says so; nobody else has the secret.
"""

import hmac
import json
import logging
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from minipacs.errors import BadRequest, MinipacsError, NotAllowed, NotFound, TooLarge
from segmentation.prompting.service import Service

MOST_BODY = 4 * 2**20
MOST_PICTURE = 96 * 2**20
USER = "X-Minipacs-User"
STUDY = "X-Minipacs-Study"
SILENT_S = 120.0
SESSION = re.compile(r"/prompts/([A-Za-z0-9_-]{8,64})(/accept)?")

log = logging.getLogger(__name__)
Answer = tuple[int, dict[str, Any] | bytes]
PICTURES = re.compile(r"/(get_segmented_image|get_dicom_image)/([A-Za-z0-9_-]{8,64})/?")


class Server(ThreadingHTTPServer):
    """One thread a connection; the front door keeps a few."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], service: Service, key: str) -> None:
        self.service, self.key = service, key
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = SILENT_S
    server: Server

    def do_GET(self) -> None:
        """Ask."""
        self._serve()

    def do_POST(self) -> None:
        """Prompt, accept."""
        self._serve()

    def do_DELETE(self) -> None:
        """Discard."""
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are in the front door's audit."""

    def _serve(self) -> None:
        answer: dict[str, Any] | bytes
        try:
            status, answer = self._answer()
        except MinipacsError as error:
            status, answer = error.status, dict(error.as_json())
        except Exception:  # the outermost loop: one mistake must not end the service
            log.exception("%s %s", self.command, urlsplit(self.path).path)
            status, answer = 500, {"error": _MISTAKE}
        kind = "application/json"
        if isinstance(answer, bytes):
            body, kind = answer, "image/png" if answer.startswith(b"\x89PNG") else "application/dicom"
        else:
            body = json.dumps(answer, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if isinstance(answer, dict) and "study_instance_uid" in answer:
            self.send_header(STUDY, str(answer["study_instance_uid"]))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self) -> Answer:
        body = self._body()
        path = urlsplit(self.path)
        if path.path == "/healthz":
            return 200, {"status": "ok"}
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.server.key}".encode()):
            raise NotAllowed("The prompt service answers the front door alone.", "Ask the front door.")
        user = unquote(self.headers.get(USER, ""))
        if not user:
            raise NotAllowed("No user is named.", "Ask the front door.")
        return self._routed(user, path.path, parse_qs(path.query), body)

    def _routed(self, user: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        service = self.server.service
        fixed: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "/prompts/engines"): lambda: (200, service.engines()),
            ("GET", "/prompts/terminology"): lambda: (200, service.terminology(query.get("q", [""])[0][:200])),
            ("POST", "/prompts"): lambda: (200, service.prompt(user, _object(body))),
            ("POST", "/segment_input_image/"): lambda: (200, dict(service.pictures.segment(user, _object(body)))),
        }
        if (self.command, path) in fixed:
            return fixed[self.command, path]()
        if (picture := PICTURES.fullmatch(path)) and self.command == "GET":
            result = service.pictures.get(user, picture.group(2))
            return 200, result.png if picture.group(1) == "get_segmented_image" else result.dicom
        session = SESSION.fullmatch(path)
        if session and self.command == "POST" and session.group(2):
            return 201, dict(service.accept(user, session.group(1), _object(body)))
        if session and self.command == "DELETE" and not session.group(2):
            service.discard(user, session.group(1))
            return 200, {"discarded": session.group(1)}
        raise NotFound(f"There is nothing at {path}.", "The documentation at /docs lists every route.")

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        most = MOST_PICTURE if self.path == "/segment_input_image/" else MOST_BODY
        if length > most:
            self.close_connection = True
            raise TooLarge(f"A request has at most {most // 2**20} MB.", "Send less at once.")
        return self.rfile.read(length)


_MISTAKE = {
    "code": "internal_error",
    "message": "The prompt service made a mistake.",
    "hint": "Its log has the details.",
}


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The request's body is not JSON.", "Send a JSON object.") from error
    if not isinstance(value, dict):
        raise BadRequest("The request's body is not a JSON object.", "Send a JSON object.")
    return value
