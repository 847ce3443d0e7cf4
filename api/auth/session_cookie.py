"""The cookie that holds a session's identifier, and the token of forms that is made of it (CSRF).

With HTTPS its name begins with `__Host-` (RFC 6265bis 4.1.3.2): a browser takes it from this host alone, over HTTPS,
so that neither another host of the domain nor a page without HTTPS can plant one. Flask's own session is not used.
"""

import hmac
import secrets

from flask import Flask, Response, current_app, request
from flask.sessions import SessionInterface, SessionMixin
from flask.wrappers import Request

from api.auth.sessions import SESSION_S
from api.context import shared_context

NAME = "minipacs"
NAME_WITH_HTTPS = "__Host-minipacs"
DEVICE_NAME = "minipacs_device"
DEVICE_DAYS = 180
"""A browser that a user has logged in with is known for so long."""


class NoFlaskSession(SessionInterface):
    """No request has a session of Flask's: nothing is read, signed or sent."""

    def open_session(self, app: Flask, request: Request) -> SessionMixin | None:
        """None: Flask's `session` cannot be written."""
        return None

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Nothing to save."""


def read_session_id() -> str:
    """The session's identifier of this request's cookie; empty without one."""
    return request.cookies.get(_cookie_name(), "")


def send_session_cookie(response: Response, session_id: str) -> None:
    """Let the browser keep this identifier, out of reach of scripts and of requests that other sites make."""
    response.set_cookie(
        _cookie_name(), session_id,
        max_age=int(SESSION_S), path="/", httponly=True, samesite="Lax", secure=is_address_https(),
    )  # fmt: skip


def delete_session_cookie(response: Response) -> None:
    """Let the browser forget the identifier."""
    response.delete_cookie(_cookie_name(), path="/", httponly=True, samesite="Lax", secure=is_address_https())


def read_device(user_name: str) -> str:
    """What names this browser, where this user has logged in with it before; empty otherwise."""
    device, _, signature = request.cookies.get(DEVICE_NAME, "").partition(".")
    is_ours = hmac.compare_digest(signature.encode(), _sign(f"device:{user_name}:{device}").encode())
    return device if is_ours else ""


def send_device_cookie(response: Response, user_name: str) -> None:
    """Let the browser keep a name of its own, so that guesses of others from its address do not lock it out."""
    device = read_device(user_name) or secrets.token_urlsafe(16)
    response.set_cookie(
        DEVICE_NAME, f"{device}.{_sign(f'device:{user_name}:{device}')}",
        max_age=DEVICE_DAYS * 86400, path="/login", httponly=True, samesite="Lax", secure=is_address_https(),
    )  # fmt: skip


def is_address_https() -> bool:
    """Whether browsers reach this server by HTTPS: itself, or by a proxy before it."""
    return request.is_secure or shared_context().settings.public_url.startswith("https://")


def csrf_token() -> str:
    """The token of this session's forms: who can read the cookie or a page alone knows it. Empty without a session."""
    session_id = read_session_id()
    return _sign(f"form:{session_id}") if session_id else ""


def _sign(text: str) -> str:
    """A keyed hash with this installation's key; what signs one kind of text begins with its kind."""
    return hmac.digest(str(current_app.secret_key).encode(), text.encode("utf-8", "surrogatepass"), "sha256").hex()


def _cookie_name() -> str:
    return NAME_WITH_HTTPS if is_address_https() else NAME
