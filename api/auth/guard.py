"""The guard before every route: who asks, may they, and is it really them (CSRF).

Proofs, in this order: `Authorization: Bearer` (API token), `Authorization: Basic` (user and password,
for scripts), session cookie (pages, OHIF). A browser without one is sent to the login; a client gets
401 and the JSON error shape, without WWW-Authenticate, so that no browser asks by itself.
"""

import hmac
import time
from hashlib import sha256
from urllib.parse import quote, urlsplit

from flask import Flask, current_app, g, redirect, request, session
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from api.auth import login_limit
from api.auth.accounts import NOBODY, Principal, Token, User, digest, matches, stamp
from api.auth.roles import includes
from api.context import context
from api.web.describe_route import READING, current_description
from api.web.responses import error_answer, wants_page
from minipacs.errors import NotAllowed, NotFound
from minipacs.secrets import secret

REMEMBERED_S = 5.0
"""A proof is looked up again after so many seconds: the longest a revoked token lives on."""
REMEMBERED = 10_000
ALWAYS_PUBLIC = ("/ohif/manifest.json",)
"""Browsers fetch a manifest without cookies (HTML 4.6.7.9)."""


class Memory:
    """Principals by proof, for seconds; `None` is not remembered."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Principal]] = {}

    def get(self, proof: str) -> Principal | None:
        """The principal, if it was proven a moment ago."""
        kept = self._kept.get(proof)
        return kept[1] if kept and kept[0] > time.monotonic() else None

    def put(self, proof: str, principal: Principal, seconds: float | None = None) -> Principal:
        """Remember; forget everything when there is too much."""
        if len(self._kept) > REMEMBERED:
            self._kept.clear()
        self._kept[proof] = (time.monotonic() + (REMEMBERED_S if seconds is None else seconds), principal)
        return principal


def install(app: Flask) -> None:
    """Put the guard before every route."""
    app.extensions["minipacs_memory"] = Memory()
    app.extensions["minipacs_basic_key"] = secret(app.extensions["minipacs"].settings.home, "session_key").encode()
    app.before_request(guard)


def guard() -> ResponseReturnValue | None:
    """Let through, send to the login, or refuse."""
    description = current_description()
    g.user = None
    if request.method == "OPTIONS" and request.endpoint and "Access-Control-Request-Method" in request.headers:
        return None  # a preflight bears no credentials; it answers nothing but Allow
    if request.endpoint == "static" or description.is_public or request.path in ALWAYS_PUBLIC:
        return None
    g.user = principal()
    if "\x00" in request.environ["PATH_INFO"] and g.user is not None:
        raise NotFound("There is nothing at an address with a NUL character.", "Leave it out.")
    if g.user is None:
        return _login_first()
    if request.method not in READING and g.user.by == "session" and not _from_our_pages():
        raise NotAllowed("This request came from another site.", "Use the pages of this server, or an API token.")
    needed = description.role_for(request.method)
    if not includes(g.user.role, needed):
        raise NotAllowed(f"This needs the role {needed}; yours is {g.user.role}.", "Ask an administrator.")
    if g.user.must_change and g.user.by == "session" and request.blueprint != "login" and wants_page():
        return redirect("/account?next=" + quote(_asked(), safe=""))
    return None


def principal() -> Principal | None:
    """Who asks; `None` when nothing, or nothing true, was shown."""
    authorization = request.authorization
    if authorization is None:
        return _by_session()
    if authorization.type == "bearer" and authorization.token:
        return _by_token(authorization.token)
    if authorization.type == "basic":
        return _by_password(authorization.username or "", authorization.password or "")
    return None


def _by_token(token: str) -> Principal | None:
    memory: Memory = current_app.extensions["minipacs_memory"]
    hashed = digest(token)
    if known := memory.get(hashed):
        return known
    with context().database.reading() as db:
        found = db.scalar(select(Token).where(Token.token_hash == hashed))
    if found is None:
        return None
    return memory.put(hashed, Principal(found.user_name or f"token:{found.name}", found.role, "token"))


def _by_session() -> Principal | None:
    name, stamped = session.get("user"), session.get("stamp")
    if not isinstance(name, str) or not isinstance(stamped, str):
        return None
    memory: Memory = current_app.extensions["minipacs_memory"]
    proof = f"session:{name}:{stamped}"
    if known := memory.get(proof):
        return known
    with context().database.reading() as db:
        user = db.get(User, name)
    if user is None or not hmac.compare_digest(stamp(user), stamped):
        return None
    who = Principal(name, user.role, "session", user.must_change)
    if user.must_change:
        return who
    return memory.put(proof, who)


def _by_password(name: str, password: str) -> Principal | None:
    memory: Memory = current_app.extensions["minipacs_memory"]
    proof = hmac.new(current_app.extensions["minipacs_basic_key"], f"{name}:{password}".encode(), sha256).hexdigest()
    if known := memory.get(proof):
        return known
    user = check_password(name, password)
    return memory.put(proof, Principal(user.name, user.role, "basic"), 60) if user else None


def check_password(name: str, password: str) -> User | None:
    """The user, when this is the password; counts failures and refuses after too many."""
    if "\x00" in name:
        return None
    database = context().database
    login_limit.check(database, name, request.remote_addr or "")
    with database.reading() as db:
        user = db.get(User, name)
    if matches(user.password_hash if user else NOBODY, password) and user is not None:
        return user
    login_limit.failed(database, name, request.remote_addr or "")
    return None


def _login_first() -> ResponseReturnValue:
    if request.method == "GET" and wants_page():
        return redirect("/login?next=" + quote(_asked(), safe=""))
    return error_answer(
        "login_required",
        "This needs a login.",
        "Send `Authorization: Bearer TOKEN` (made by `minipacs token create NAME`), or log in at /login.",
        401,
    )


def _asked() -> str:
    return request.full_path.removesuffix("?")


def _from_our_pages() -> bool:
    """CSRF: the browser says the request is same-origin, or the form bears the session's token.

    `Sec-Fetch-Site` and `Origin` cannot be set by a page; a request with neither must bear the token.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is not None:
        return urlsplit(origin).netloc == request.host
    given = request.headers.get("X-CSRF-Token") or (
        request.form.get("csrf_token", "") if request.mimetype == "application/x-www-form-urlencoded" else ""
    )
    return bool(given) and hmac.compare_digest(given.encode(), str(session.get("csrf", "")).encode())
