"""The fast lane: for who was proven a moment ago, look-ups, result files and frames are answered before Flask.

Flask takes three times as long as a look-up itself. The lane knows the routes of `api.catalogue.lookups`,
`/results/…` and frames of DICOMweb, and only their plain answers: whatever is not found, not proven, or
in any way special goes on to the application, which answers the same (a test compares them).
"""

import json
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.wsgi import FileWrapper

from api.auth import audit
from api.auth.accounts import Principal, digest
from api.auth.guard import COOKIE
from api.catalogue import lookups
from api.dicomweb import frame_client, orthanc_fixes
from api.web.file_responses import inside, plain_headers
from minipacs.errors import MinipacsError, NotFound

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from api.context import AppContext

Look = Callable[["AppContext", str], lookups.Found]
OF_PATIENT: dict[str, Look] = {
    "studycount": lookups.study_count,
    "seriescount": lookups.series_count,
    "imagecount": lookups.image_count,
    "counts": lookups.counts,
}
BY_UID: dict[str, Look] = {"studies": lookups.study, "series": lookups.series, "images": lookups.image}
LEVELS = ("patients", "studies", "series", "images", "imageinfo")
HEADERS = [
    ("Content-Type", "application/json"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "private, no-cache"),
    ("Vary", "Accept, Authorization, Cookie"),
]
BLOCK = 256 * 1024
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


SPECIAL = ("HTTP_RANGE", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE")
"""Whoever sends one of these asks for more than the whole file."""
Answer = tuple[list[tuple[str, str]], Iterable[bytes]]


class Lane:
    """WSGI, around the application."""

    def __init__(self, app: Flask, beyond: "WSGIApplication") -> None:
        self._beyond = beyond
        self._context = app.extensions["minipacs"]
        self._memory = app.extensions["minipacs_memory"]
        self._audit = app.extensions["minipacs_audit"]
        self._ways: dict[str, Callable[[str, WSGIEnvironment, Principal], Answer | None]] = {
            **dict.fromkeys(LEVELS, self._look_up),
            "results": self._file,
            "dicom-web": self._frame,
        }

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """The answer, or the application's."""
        if environ["REQUEST_METHOD"] == "GET" and not environ.get("QUERY_STRING") and "HTTP_ORIGIN" not in environ:
            path: str = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
            way = self._ways.get(path[1:].partition("/")[0])
            who = self._memory.get(proof(environ)) if way else None
            answer = way(path, environ, who) if way and who else None
            if answer is not None:
                start_response("200 OK", answer[0])
                return answer[1]
        return self._beyond(environ, start_response)

    def _look_up(self, path: str, environ: "WSGIEnvironment", who: Principal) -> Answer | None:
        level, _, key = path[1:].partition("/")
        if not key or (level == "studies" and "text/html" in environ.get("HTTP_ACCEPT", "")):
            return None
        try:
            if key == "count" and level != "imageinfo":
                return packed(lookups.totals(self._context, level))
            look, key, patient = asked(level, key)
            found = look(self._context, key) if look else None
        except MinipacsError:  # the application tells it
            return None
        if found is None or look is None:
            return None
        about = f"patients.{look.__name__}" if patient else path
        self._note(environ, who, "view", about, None, patient)
        return packed(found)

    def _file(self, path: str, environ: "WSGIEnvironment", who: Principal) -> Answer | None:
        if any(name in environ for name in SPECIAL):
            return None
        relative = path.removeprefix("/results/")
        try:
            found = inside(self._context.settings.output / "results", relative)
            file = found.open("rb")
        except (NotFound, OSError):
            return None
        headers = plain_headers(found, os.fstat(file.fileno()))
        if headers is None:
            file.close()
            return None
        self._note(environ, who, "download", path, relative.partition("/")[0], None)
        wrapper = environ.get("wsgi.file_wrapper", FileWrapper)
        return headers, wrapper(file, BLOCK)

    def _frame(self, path: str, environ: "WSGIEnvironment", who: Principal) -> Answer | None:
        below = path.removeprefix("/dicom-web/")
        if not orthanc_fixes.wants_frames(below) or not orthanc_fixes.may_be_read(below):
            return None
        frame = frame_client.get(self._context, below, environ)
        if frame is None:
            return None
        self._note(environ, who, "view", path, below.split("/")[1], None)
        headers = [*frame.headers, ("Content-Length", str(len(frame.body))), ("X-Content-Type-Options", "nosniff")]
        return headers, [frame.body]

    def _note(
        self, environ: "WSGIEnvironment", who: Principal, action: str, path: str, study: str | None, patient: str | None
    ) -> None:
        address = environ.get("REMOTE_ADDR", "")
        self._audit.add(audit.entry(who, address, action, "GET", path, 200, study, patient))


def proof(environ: "WSGIEnvironment") -> str:
    """Under which name the guard remembers who this is: a token's digest, or the session's cookie."""
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    if authorization:
        return digest(authorization[7:]) if authorization[:7] == "Bearer " else ""
    return COOKIE + str(environ.get("HTTP_COOKIE", ""))


def packed(found: lookups.Found) -> Answer | None:
    """JSON."""
    if found is None:
        return None
    body = (encode(found) + "\n").encode()
    return [*HEADERS, ("Content-Length", str(len(body)))], [body]


def asked(level: str, key: str) -> tuple[Look | None, str, str | None]:
    """Which look-up a path asks for, of what, and the PatientID where it has one; None: not one of the lane's."""
    if level == "patients":
        patient, _, what = key.rpartition("/")
        if not patient:
            return lookups.patient, key, key
        if what in OF_PATIENT:
            return OF_PATIENT[what], patient, patient
        return (None, key, None) if what in ("studies", "series") else (lookups.patient, key, key)
    if level == "imageinfo":
        return lookups.picture, key, None
    return (BY_UID.get(level) if "/" not in key else None), key, None
