"""The guard before every route: is the request identified, may it, and does it come from our pages (CSRF).

A browser that is not logged in is sent to the login; a client gets 401 and the JSON error shape, without
WWW-Authenticate, so that no browser asks for a password by itself.
"""

import hmac
from urllib.parse import quote, urlsplit

from flask import Flask, g, redirect, request
from flask.typing import ResponseReturnValue

from api.auth.identify import identify_user
from api.auth.roles import role_includes
from api.auth.session_cookie import csrf_token
from api.web.describe_route import READING, current_description
from api.web.responses import make_error_response, wants_page
from minipacs.errors import NotAllowed, NotFound, PasswordChangeRequired

MAX_FORM_BYTES = 64 * 1024
"""Of a form whose field says that it is ours."""
ALWAYS_PUBLIC = ("/ohif/manifest.json",)
"""Browsers fetch a manifest without cookies (HTML 4.6.7.9)."""


def install(app: Flask) -> None:
    """Put the guard before every route."""
    app.before_request(check_access)


def check_access() -> ResponseReturnValue | None:
    """Let the request through (None), send it to the login, or refuse it. `g.user` is who makes it."""
    g.user = None
    if "\x00" in request.environ["PATH_INFO"]:
        raise NotFound("There is nothing at an address with a NUL character.", "Leave it out.")

    description = current_description()
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if is_preflight and request.endpoint:
        return None  # it bears no credentials, and its answer is nothing but Allow
    if request.endpoint == "static" or description.is_public or request.path in ALWAYS_PUBLIC:
        return None

    g.user = identify_user()
    if g.user is None:
        return _send_to_login()
    needed = description.role_for(request.method)
    if not role_includes(g.user.role, needed):
        raise NotAllowed(f"This needs the role {needed}; yours is {g.user.role}.", "Ask an administrator.")
    is_change = request.method not in READING or description.changes_something
    if is_change and g.user.by == "session" and not _is_from_our_pages():
        raise NotAllowed("This request came from another site.", "Use the pages of this server, or an API token.")
    if g.user.must_change and request.blueprint != "login":
        return _send_to_password_change()
    return None


def _send_to_login() -> ResponseReturnValue:
    if request.method == "GET" and wants_page():
        return redirect("/login?next=" + quote(_requested_address(), safe=""))
    return make_error_response(
        "login_required",
        "This needs a login.",
        "Send `Authorization: Bearer TOKEN` (made by `minipacs token create NAME`), or log in at /login.",
        401,
    )


def _send_to_password_change() -> ResponseReturnValue:
    """Whose password was chosen by somebody else may do nothing but choose another: by session, Basic and token."""
    if request.method == "GET" and g.user.by == "session" and wants_page():
        return redirect("/account?next=" + quote(_requested_address(), safe=""))
    raise PasswordChangeRequired(
        f"The password of {g.user.name} must be changed before anything else.",
        'Log in at /account, or POST /account {"old", "new"} with user and password (Basic).',
    )


def _requested_address() -> str:
    return request.full_path.removesuffix("?")


def _is_from_our_pages() -> bool:
    """Whether the browser says that the request is same-origin, or the form bears the session's token (CSRF).

    `Sec-Fetch-Site` and `Origin` cannot be set by a page; a request with neither must bear the token.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if request.method in READING:  # a link in a mail leads here too: `none`
        referrer = urlsplit(request.headers.get("Referer", "")).netloc
        return site == "same-origin" or (site is None and referrer == request.host)
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is not None:
        return urlsplit(origin).netloc == request.host
    given = request.headers.get("X-CSRF-Token") or _read_csrf_field()
    return bool(given) and hmac.compare_digest(given.encode(), csrf_token().encode())


def _read_csrf_field() -> str:
    """The token of a form of ours. Of a body that is longer, or does not say how long it is, nothing is read."""
    is_small = 0 < (request.content_length or 0) <= MAX_FORM_BYTES
    is_form = request.mimetype == "application/x-www-form-urlencoded"
    return request.form.get("csrf_token", "") if is_small and is_form else ""
