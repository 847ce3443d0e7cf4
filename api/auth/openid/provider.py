"""The OpenID provider: its addresses and keys, the way to its login page, and the check of what it answers.

Authorization code flow with PKCE (RFC 7636), state and nonce (OpenID Connect Core 3.1). Authlib speaks the protocol
and joserfc checks the tokens; both are imported when single sign-on is set up, and not before.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from api.web.wait_limits import WaitLimits
from minipacs.errors import FrontDoorBusy, SingleSignOnFailed, SingleSignOnUnavailable
from minipacs.settings import Settings

if TYPE_CHECKING:
    from authlib.integrations.requests_client import OAuth2Session

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures that only the provider can make: neither `none` nor one whose key the client has."""
TIMEOUT_S = 10
METADATA_MAX_AGE_S = 600.0
ASK_AGAIN_S = 10.0
"""A provider that did not answer is asked for its metadata again after so long."""
LEEWAY_S = 60
"""Clocks may differ by so much."""
UNANSWERED = "The single sign-on does not answer as it should."
WITHOUT_PROVIDER = "Log in with a password, or try again later."
TRY_AGAIN = "Try again; if it happens again, ask an administrator of minipacs."


@dataclass(frozen=True)
class LoginAttempt:
    """What the browser must come back with, kept in its cookie meanwhile."""

    state: str
    nonce: str
    code_verifier: str
    next: str


@dataclass(frozen=True)
class ProviderMetadata:
    """What a provider publishes (OpenID Connect Discovery 4), as far as it is used."""

    authorization_endpoint: str
    token_endpoint: str
    jwks: Mapping[str, object]
    userinfo_endpoint: str
    end_session_endpoint: str
    read_at: float


@dataclass(frozen=True)
class VerifiedClaims:
    """What the provider says of the person who logged in; the token was checked."""

    subject: str
    """The claim `sub`."""
    values: Mapping[str, object]
    """Every claim by its name, of the ID token and of the user info; the provider chose most names."""


class OpenIdProvider:
    """The provider of the settings. Safe to share between threads."""

    def __init__(self, settings: Settings, wait_limits: WaitLimits) -> None:
        self._settings = settings
        self._wait_limits = wait_limits
        self._metadata: ProviderMetadata | None = None
        self._ask_after = 0.0
        self._lock = threading.Lock()

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends the browser back; it is registered there."""
        return f"{self._settings.public_url.rstrip('/')}/login/openid/callback"

    def make_login_url(self, attempt: LoginAttempt) -> str:
        """The provider's login page for this attempt."""
        endpoint = self.read_metadata().authorization_endpoint
        with self._open_session() as session:
            url, _ = session.create_authorization_url(
                endpoint, state=attempt.state, nonce=attempt.nonce, code_verifier=attempt.code_verifier
            )
        return str(url)

    def make_logout_url(self) -> str:
        """The provider's logout page (RP-Initiated Logout 1.0), which leads back to our login; empty without one."""
        endpoint = self.read_metadata().end_session_endpoint
        if not endpoint:
            return ""
        back = f"{self._settings.public_url.rstrip('/')}/login"
        query = urlencode({"client_id": self._settings.openid_client_id, "post_logout_redirect_uri": back})
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    def fetch_claims(self, attempt: LoginAttempt, code: str) -> VerifiedClaims:
        """Exchange the code for an ID token, check the token, and return its claims with those of the user info."""
        metadata = self.read_metadata()
        with self._open_session() as session:
            token = self._request(
                lambda: session.fetch_token(
                    metadata.token_endpoint, code=code, code_verifier=attempt.code_verifier, timeout=TIMEOUT_S
                )
            )
            claims = self.check_id_token(str(token.get("id_token", "")), attempt.nonce)
            if not metadata.userinfo_endpoint or self._has_needed(claims.values):
                return claims

            bearer = {"Authorization": f"Bearer {token.get('access_token', '')}"}  # it may live for seconds only
            more = self._request(
                lambda: session.get(
                    metadata.userinfo_endpoint, withhold_token=True, headers=bearer, timeout=TIMEOUT_S
                ).json()
            )
        if more.get("sub") != claims.subject:  # OpenID Connect Core 5.3.2
            raise SingleSignOnFailed("The single sign-on told of another person than it logged in.", TRY_AGAIN)
        return VerifiedClaims(claims.subject, {**more, **claims.values})

    def check_id_token(self, id_token: str, nonce: str) -> VerifiedClaims:
        """The claims of an ID token that this provider signed for us, for this login, and that has not ended.

        OpenID Connect Core 3.1.3.7: signature, issuer, audience, authorized party, times, nonce.
        """
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        client_id = self._settings.openid_client_id
        rules = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._settings.openid_issuer},
            aud={"essential": True, "value": client_id},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            keys = KeySet.import_key_set(dict(self.read_metadata().jwks))  # type: ignore[arg-type]
            claims = jwt.decode(id_token, keys, algorithms=list(ALGORITHMS)).claims
            rules.validate(claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise SingleSignOnFailed(
                f"The single sign-on's token was refused ({type(error).__name__}).", TRY_AGAIN
            ) from error
        audience = claims["aud"]
        is_for_others = isinstance(audience, list) and len(audience) > 1 and "azp" not in claims
        if is_for_others or claims.get("azp", client_id) != client_id or not isinstance(claims["sub"], str):
            raise SingleSignOnFailed("The single sign-on's token is not meant for minipacs.", TRY_AGAIN)
        return VerifiedClaims(claims["sub"], dict(claims))

    def read_metadata(self) -> ProviderMetadata:
        """Addresses and keys, as published; read again after ten minutes, by one request while others go on.

        Where the provider does not answer, what is known stays in use, and nobody asks for ten seconds.
        """
        now = time.monotonic()
        with self._lock:  # never held while the provider is asked
            known = self._metadata
            if known is not None and (known.read_at >= now - METADATA_MAX_AGE_S or now < self._ask_after):
                return known
            if now < self._ask_after:
                raise SingleSignOnUnavailable(UNANSWERED, WITHOUT_PROVIDER)
            if known is not None:
                self._ask_after = now + ASK_AGAIN_S

        try:
            fetched = self._fetch_metadata()
        except (SingleSignOnFailed, SingleSignOnUnavailable, FrontDoorBusy) as error:
            if not isinstance(error, FrontDoorBusy):
                self._ask_after = time.monotonic() + ASK_AGAIN_S
            if known is None:
                raise
            return known
        with self._lock:
            self._metadata, self._ask_after = fetched, 0.0
        return fetched

    def _fetch_metadata(self) -> ProviderMetadata:
        issuer = self._settings.openid_issuer
        with self._open_session() as session:

            def fetch(url: str) -> dict[str, object]:
                _check_scheme(url, issuer)
                return self._request(lambda: session.get(url, withhold_token=True, timeout=TIMEOUT_S).json())

            found = fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != issuer:  # OpenID Connect Discovery 4.3
                raise SingleSignOnUnavailable(
                    "The single sign-on calls itself another issuer.", "Correct MINIPACS_OPENID_ISSUER."
                )
            names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "end_session_endpoint")
            endpoints = {name: str(found.get(name) or "") for name in names}
            for url in (endpoints["authorization_endpoint"], endpoints["token_endpoint"]):
                _check_scheme(url, issuer)
            jwks = fetch(str(found.get("jwks_uri", "")))
        return ProviderMetadata(**endpoints, jwks=jwks, read_at=time.monotonic())

    def _has_needed(self, claims: Mapping[str, object]) -> bool:
        settings = self._settings
        names = (settings.openid_name_claim, settings.openid_role_claim, settings.openid_groups_claim)
        return all(name.partition(".")[0] in claims for name in names if name)

    def _open_session(self) -> "OAuth2Session":
        from authlib.integrations.requests_client import OAuth2Session

        settings = self._settings
        return OAuth2Session(
            settings.openid_client_id,
            settings.openid_client_secret,
            scope=settings.openid_scopes,
            redirect_uri=self.redirect_uri,
            code_challenge_method="S256",
        )

    def _request(self, ask: Callable[[], object]) -> dict[str, object]:
        """The JSON object that the provider answers to a request."""
        from authlib.common.errors import AuthlibBaseError
        from requests.exceptions import RequestException

        try:
            with self._wait_limits.wait_for("the single sign-on"):
                answer = ask()
        except AuthlibBaseError as error:
            raise SingleSignOnFailed("The single sign-on refused this login.", TRY_AGAIN) from error
        except (RequestException, ValueError) as error:
            raise SingleSignOnUnavailable(UNANSWERED, WITHOUT_PROVIDER) from error
        if not isinstance(answer, dict):
            raise SingleSignOnUnavailable(UNANSWERED, TRY_AGAIN)
        return answer


def _check_scheme(url: str, issuer: str) -> None:
    """Refuse an address that leaves https, which the issuer has (or this machine, for a trial)."""
    if urlsplit(url).scheme != urlsplit(issuer).scheme or not urlsplit(url).hostname:
        raise SingleSignOnUnavailable("The single sign-on names an address without https.", "Correct the provider.")
