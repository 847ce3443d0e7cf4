"""Answers: JSON or a page by what the client accepts, errors in one shape, and the headers of every answer."""

import logging
from collections.abc import Callable, Mapping
from secrets import token_urlsafe
from typing import Any, TypedDict

from flask import Flask, Response, g, jsonify, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import DataError
from werkzeug.exceptions import HTTPException

from api.web import template_filters
from api.web.describe_route import current_description
from api.web.secret_addresses import has_secret, path_without_secrets
from minipacs.errors import MinipacsError
from minipacs.memory.process_limit import explain_memory_error

log = logging.getLogger(__name__)
HTTPS_ONLY_S = 365 * 86400
"""So long a browser that came by HTTPS never uses anything else (RFC 6797)."""
HINTS = {
    400: "The documentation at /docs shows what the route takes.",
    404: "The documentation at /docs lists every route.",
    405: "The documentation at /docs lists the methods of every route.",
    413: "Send fewer or smaller files at once.",
    416: "Ask for a range within the file's size.",
    429: "Wait a moment, then try again.",
}


class ErrorDetails(TypedDict):
    """What went wrong, and the remedy; `code` is for programs."""

    code: str
    message: str
    hint: str


class ErrorAnswer(TypedDict):
    """The one shape of every error."""

    error: ErrorDetails


def wants_page() -> bool:
    """Whether a person's browser asks; scripts (`*/*`, JSON) get JSON."""
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def send_json_or_page(
    data: Any, page_only: Callable[[], Mapping[str, Any]] | None = None, *, status: int = 200
) -> ResponseReturnValue:
    """JSON for scripts; for a browser the page that the route's description names, made of the same.

    `page_only` gives what the page shows beside `data`; it is called only for a page.
    """
    if not current_description().page or not wants_page():
        return data, status
    values = data if isinstance(data, Mapping) else {}
    return render_page({**values, **(page_only() if page_only is not None else {})}), status


def render_page(values: Mapping[str, Any]) -> str:
    """The page of this route."""
    return render_template(current_description().page, **values)


def send_json_or_redirect(data: Any, page: str, *, status: int = 200) -> ResponseReturnValue:
    """After a change: JSON for scripts; a browser is led to this page."""
    return redirect(page, 303) if wants_page() else (data, status)


def make_error_response(code: str, message: str, hint: str, status: int) -> Response:
    """The one JSON error shape, or a page that says the same."""
    if wants_page():
        response = make_response(render_template("error.html", code=code, message=message, hint=hint, status=status))
    else:
        response = jsonify({"error": {"code": code, "message": message, "hint": hint}})
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response


def install(app: Flask) -> None:
    """Turn every error into an answer; add headers."""
    app.register_error_handler(MinipacsError, _answer_minipacs_error)
    app.register_error_handler(MemoryError, lambda _error: _answer_minipacs_error(explain_memory_error()))
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(DataError, _answer_database_value_error)
    app.register_error_handler(Exception, _answer_unexpected_error)
    app.after_request(_add_security_and_cache_headers)
    app.jinja_env.globals["csp_nonce"] = csp_nonce
    template_filters.install(app)


def csp_nonce() -> str:
    """The nonce of this answer, for the one inline script that a page may have (an import map)."""
    if "csp_nonce" not in g:
        g.csp_nonce = token_urlsafe(16)
    return str(g.csp_nonce)


def _answer_minipacs_error(error: MinipacsError) -> ResponseReturnValue:
    response = make_error_response(error.code, error.message, error.hint, error.status)
    if error.retry_after_s:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _answer_http_error(error: HTTPException) -> ResponseReturnValue:
    if error.code is None or error.code < 400:
        return error.get_response()
    code = error.name.lower().replace(" ", "_")
    response = make_error_response(code, str(error.description), HINTS.get(error.code, ""), error.code)
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length", "WWW-Authenticate"):
            response.headers[name] = value
    return response


def _answer_database_value_error(error: DataError) -> ResponseReturnValue:
    """A text with NUL, a number beyond the column: PostgreSQL refuses what SQLite would take."""
    return make_error_response("bad_request", "A value of this request cannot be in the database.", "Correct it.", 400)


def _answer_unexpected_error(error: Exception) -> ResponseReturnValue:
    """A mistake of ours: the log has all of it, the answer no details."""
    log.exception("%s %s", request.method, path_without_secrets())
    return make_error_response("internal_error", "The server made a mistake.", "Its log has the details.", 500)


def _add_security_and_cache_headers(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    if request.is_secure and not request.host.startswith("localhost"):  # which other programs of a laptop share
        headers.setdefault("Strict-Transport-Security", f"max-age={HTTPS_ONLY_S}")
    if has_secret():
        headers.setdefault("Referrer-Policy", "no-referrer")
    if request.blueprint == "gateway":  # pictures and data; a document among them may run nothing here
        headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'self'; sandbox")
        return response
    if request.blueprint == "ohif" and "Content-Security-Policy" in headers:
        return response  # a file of the viewer (`api.viewer`)
    if response.mimetype == "text/html":
        scripts = f"script-src 'self' 'nonce-{g.csp_nonce}'" if "csp_nonce" in g else "script-src 'self'"
        headers.setdefault(
            "Content-Security-Policy",
            f"default-src 'self'; {scripts}; style-src 'self'; img-src 'self' data: blob:; connect-src 'self' blob:; "
            "object-src 'none'; base-uri 'none'; frame-ancestors 'self'; form-action 'self'",
        )
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("X-Frame-Options", "SAMEORIGIN")
        headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("Cache-Control", "private, no-cache")
    headers.add("Vary", "Accept, Authorization, Cookie")
    return response
