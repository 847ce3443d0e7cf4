"""The session cookie: Flask's own, with its signer kept, and without any signing where there is no cookie."""

from typing import Any

from flask import Flask
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask.wrappers import Request


class SessionInterface(SecureCookieSessionInterface):
    """Flask's sessions. Most requests of scripts bear no cookie: they get an empty session at once."""

    def __init__(self) -> None:
        self._signer: Any = None

    def get_signing_serializer(self, app: Flask) -> Any:
        """Flask's signer, made once: the key does not change while the process lives."""
        if self._signer is None:
            self._signer = super().get_signing_serializer(app)
        return self._signer

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The session of this request's cookie; empty without one."""
        if "HTTP_COOKIE" not in request.environ:
            return self.session_class()
        return super().open_session(app, request)
