"""Answers to what is no request for the application: the one JSON shape of errors, and a closed connection."""

import json
from http import HTTPStatus

from gunicorn.http import errors  # type: ignore[import-untyped]  # it has none

TOO_LONG = "The request line and each header have at most 8 kB, and there are at most 100 headers."
NO_HTTP = "This is no request of HTTP/1.1 (RFC 9112)."
STATUS = (
    (errors.LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG, TOO_LONG),
    (errors.LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, TOO_LONG),
    (errors.ExpectationFailed, HTTPStatus.EXPECTATION_FAILED, "No other expectation than 100-continue is met."),
    (errors.UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED, "A body comes plain or chunked."),
    (errors.ParseException, HTTPStatus.BAD_REQUEST, NO_HTTP),
)


def refuse_for(error: BaseException) -> bytes | None:
    """The answer to a request that could not be read for this reason; None where the reason is no fault of a client."""
    for kind, status, message in STATUS:
        if isinstance(error, kind):
            return make_refusal(status, message, "Correct the client.")
    return None


def make_refusal(status: HTTPStatus, message: str, hint: str) -> bytes:
    """A whole answer, which ends the connection."""
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    body = json.dumps({"error": {"code": code, "message": message, "hint": hint}}).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
