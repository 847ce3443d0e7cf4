"""The prompt service over HTTP: JSON for the front door alone, on loopback, with a shared secret.

The front door has checked who the user is, and says so; nobody else has the secret. A request is read in this order:
its head, its key, and only then its body, whose length must be announced and is bounded. Who sends slowly, or half, is
cut off after a time (`connections.py`).
"""

import hmac
import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from minipacs.errors import BadRequest, MinipacsError, NotAllowed, NotFound, TooLarge
from segmentation.prompting.connections import Connections
from segmentation.prompting.service import PromptService

MB = 2**20
DIGITS = re.compile(r"[0-9]{1,12}")
"""Of a Content-Length (RFC 9110 8.6)."""
MAX_BODY_BYTES = 4 * MB
MAX_PICTURE_BYTES = 96 * MB
"""Of an older client's request, which holds its picture."""
MAX_QUERY_CHARACTERS = 200
"""Of a search for terms; the rest is left out."""
USER_HEADER = "X-Minipacs-User"
MEMBER_HEADER = "X-Minipacs-Member"
"""The member whose groups' studies the user sees; no such header where the user sees all."""
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
    """One thread a connection; the front door keeps a few, and the number of all is bounded."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], service: PromptService, key: str) -> None:
        self.service, self.key = service, key
        self.connections = Connections()
        super().__init__(address, PromptRequestHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a new connection by a thread of its own, or close it where there are too many."""
        if self.connections.add(request):
            super().process_request(request, client_address)
        else:
            super().shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.connections.remove(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Twice a second: cut off who sends too slowly."""
        self.connections.cut_off_overdue()


class PromptRequestHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: PromptServer
    request: socket

    def handle_one_request(self) -> None:
        """Read and answer one request; a connection that was cut off ends without a word."""
        with suppress(ConnectionError, TimeoutError):
            super().handle_one_request()
            return
        self.close_connection = True

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

        self.server.connections.start_sending(self.request)
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        if not isinstance(content, bytes) and "study_instance_uid" in content:
            self.send_header(STUDY_HEADER, str(content["study_instance_uid"]))

        if self.close_connection:
            self.send_header("Connection", "close")

        self.end_headers()
        self.wfile.write(body)
        self.server.connections.start_waiting(self.request)

    def _make_response(self) -> Response:
        url = urlsplit(self.path)
        try:
            user = self._authenticate() if url.path != "/healthz" else ""
            length = self._read_content_length(url.path) if user else 0
        except MinipacsError:
            self.close_connection = True  # a body may follow, which nobody reads
            raise

        if not user:
            self.close_connection = self.close_connection or self.command != "GET"
            return 200, {"status": "ok"}

        self.server.connections.start_body(self.request)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            raise BadRequest("The request's body is shorter than it says.", "Send it again.")

        self.server.connections.start_answer(self.request)
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
        given = self.headers.get(MEMBER_HEADER)
        member = None if given is None else unquote(given)
        term = query.get("q", [""])[0][:MAX_QUERY_CHARACTERS]
        routes: dict[tuple[str, str], Callable[[], Response]] = {
            ("GET", "/prompts/engines"): lambda: (200, service.list_engines()),
            ("GET", "/prompts/terminology"): lambda: (200, service.search_terminology(term)),
            ("POST", "/prompts"): lambda: (200, service.answer_prompts(user, _parse_object(body), member)),
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
            return 201, service.accept_answer(user, session.group(1), _parse_object(body), member)

        if session and self.command == "DELETE" and not session.group(2):
            service.discard_session(user, session.group(1))
            return 200, {"discarded": session.group(1)}

        raise NotFound(f"There is nothing at {path}.", "The documentation at /docs lists every route.")

    def _read_content_length(self, path: str) -> int:
        """Length of the body; raises `BadRequest` where it is not said in one number, `TooLarge` beyond the limit."""
        lengths = set(self.headers.get_all("Content-Length", []))
        if "Transfer-Encoding" in self.headers or (self.command == "POST" and not lengths):
            raise BadRequest("The request does not say how long it is.", "Send Content-Length, not chunks.")
        if not lengths:
            return 0
        if len(lengths) > 1 or not DIGITS.fullmatch(text := lengths.pop()):
            raise BadRequest("Content-Length is no number of bytes.", "Send one number, in digits.")

        limit = MAX_PICTURE_BYTES if path == "/segment_input_image/" else MAX_BODY_BYTES
        if int(text) > limit:
            raise TooLarge(f"A request has at most {limit // MB} MB.", "Send less at once.")
        return int(text)


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The request's body is not JSON.", "Send a JSON object.") from error

    if not isinstance(value, dict):
        raise BadRequest("The request's body is not a JSON object.", "Send a JSON object.")

    return value
