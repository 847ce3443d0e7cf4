"""The fast lane: counts and look-ups for a token that was proven a moment ago, answered before Flask.

Flask takes three times as long as the look-up itself. The lane knows the routes of `api.lookups` alone,
and only their plain answers: whatever is not found, not proven, or in any way special goes on to the
application, which answers the same (a test compares them).
"""

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from flask import Flask

from api import audit, lookups
from api.accounts import digest
from api.quick import Reader
from minipacs.errors import MinipacsError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Look = Callable[[Reader, str], lookups.Found]
OF_PATIENT: dict[str, Look] = {
    "studycount": lookups.study_count,
    "seriescount": lookups.series_count,
    "imagecount": lookups.image_count,
    "counts": lookups.counts,
}
BY_UID: dict[str, Look] = {"series": lookups.series, "images": lookups.image}
LEVELS = frozenset(["patients", "studies", "series", "images"])
HEADERS = [
    ("Content-Type", "application/json"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "private, no-cache"),
    ("Vary", "Accept, Authorization, Cookie"),
]
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Lane:
    """WSGI, around the application."""

    def __init__(self, app: Flask, beyond: "WSGIApplication") -> None:
        self._beyond = beyond
        self._quick = app.extensions["minipacs"].quick
        self._memory = app.extensions["minipacs_memory"]
        self._audit = app.extensions["minipacs_audit"]

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """The answer, or the application's."""
        proof = environ.get("HTTP_AUTHORIZATION", "")
        if proof[:7] == "Bearer " and environ["REQUEST_METHOD"] == "GET" and not environ.get("QUERY_STRING"):
            found = self._found(environ, proof[7:])
            if found is not None:
                body = (encode(found) + "\n").encode()
                start_response("200 OK", [*HEADERS, ("Content-Length", str(len(body)))])
                return [body]
        return self._beyond(environ, start_response)

    def _found(self, environ: "WSGIEnvironment", token: str) -> lookups.Found:
        path: str = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        level, _, key = path[1:].partition("/")
        if level not in LEVELS or not key:
            return None
        who = self._memory.get(digest(token))
        if who is None:
            return None
        try:
            if key == "count":
                return lookups.totals(self._quick, level)
            look, key, patient = asked(level, key)
            found = look(self._quick, key) if look else None
        except MinipacsError:  # the application tells it
            return None
        if found is not None and look is not None:
            about = f"patients.{look.__name__}" if patient else path
            address = environ.get("REMOTE_ADDR", "")
            self._audit.add(audit.entry(who, address, "view", "GET", about, 200, None, patient))
        return found


def asked(level: str, key: str) -> tuple[Look | None, str, str | None]:
    """Which look-up a path asks for, of what, and the PatientID where it has one; None: not one of the lane's."""
    if level == "patients":
        patient, _, what = key.rpartition("/")
        if not patient:
            return lookups.patient, key, key
        if what in OF_PATIENT:
            return OF_PATIENT[what], patient, patient
        return (None, key, None) if what == "studies" else (lookups.patient, key, key)
    return (BY_UID.get(level) if "/" not in key else None), key, None
