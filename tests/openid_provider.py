"""A small OpenID provider on loopback: discovery, login, token, user info, keys; RS256, PKCE, client secret.

It logs `person` in without asking. A test changes what it says to see that it is refused.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT_ID, CLIENT_SECRET = "minipacs", "the client's secret"
Claims = dict[str, Any]


@dataclass
class Provider:
    """What it says, and what it was asked."""

    issuer: str
    key: RSAKey
    person: Claims = field(default_factory=lambda: {"sub": "1", "preferred_username": "eve", "groups": ["radiology"]})
    in_userinfo: Claims = field(default_factory=dict)
    change_claims: Callable[[Claims], Claims] = lambda claims: claims
    sign: Callable[[Claims], str] | None = None
    logins: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def answer_get(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        if path == "/.well-known/openid-configuration":
            endpoints = {"authorization": "authorize", "token": "token", "userinfo": "userinfo", "end_session": "bye"}
            found = {f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in endpoints.items()}
            return 200, {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks", **found}
        if path == "/jwks":
            return 200, KeySet([self.key]).as_dict(private=False)
        if path == "/userinfo":
            return 200, {"sub": self.person["sub"], **self.in_userinfo}
        if path == "/authorize":
            assert query["client_id"] == CLIENT_ID
            assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
            code = secrets.token_urlsafe(8)
            self.logins.append(query)
            self.codes[code] = query
            return (
                302,
                f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.issuer})}",
            )
        return 404, {}

    def answer_post(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        login = self.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        is_right = (
            path == "/token"
            and login is not None
            and authorization == f"Basic {expected}"
            and form["redirect_uri"] == login["redirect_uri"]
            and challenge.decode().rstrip("=") == login["code_challenge"]
        )
        if not is_right or login is None:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        times = {"iat": now, "exp": now + 60}
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "nonce": login["nonce"], **times, **self.person}
        sign = self.sign or self.sign_rightly
        token = sign(self.change_claims(claims))
        return 200, {"access_token": "x", "token_type": "Bearer", "expires_in": 60, "id_token": token}

    def sign_rightly(self, claims: Claims) -> str:
        return str(jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key))


@contextmanager
def running_provider() -> Iterator[Provider]:
    """A provider, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self.send(*provider.answer_get(parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()}))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            fields = {name: values[0] for name, values in form.items()}
            self.send(*provider.answer_post(self.path, fields, self.headers.get("Authorization", "")))

        def send(self, status: int, answer: Any) -> None:
            body = b"" if status == 302 else json.dumps(answer).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", answer)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
    provider = Provider(f"http://127.0.0.1:{server.server_port}", key)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
