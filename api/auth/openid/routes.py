"""Log in by single sign-on: to the provider, back from it, and its logout."""

import hmac
from dataclasses import asdict
from secrets import token_urlsafe

from flask import Blueprint, Response, current_app, g, make_response, redirect, request
from flask.typing import ResponseReturnValue
from itsdangerous import BadData, URLSafeTimedSerializer

from api.auth.access import public
from api.auth.login import NextParameters, safe_redirect_target, start_session_and_redirect
from api.auth.openid.identity import make_identity, save_user
from api.auth.openid.provider import TRY_AGAIN, LoginAttempt, OpenIdProvider
from api.auth.session_cookie import is_address_https
from api.context import shared_context
from api.web.describe_route import (
    QueryParameters,
    allows_unknown_names,
    answers,
    audits,
    changes_something,
    discloses_nothing,
    takes_query,
)
from minipacs.errors import NotFound, SingleSignOnFailed

blueprint = Blueprint("openid", __name__, url_prefix="/login/openid")
COOKIE = "minipacs_openid"
ATTEMPT_S = 600
"""A login at the provider may take so long."""
SESSION_S = 12 * 3600.0
"""A session by single sign-on lasts so long: then the provider is asked again whether the person may."""


class CallbackParameters(QueryParameters):
    """What the provider sends back by the browser."""

    state: str = ""
    """As we sent it."""
    code: str = ""
    """Good once, for an ID token."""
    error: str = ""
    """Why there is no code."""


@blueprint.get("")
@public
@discloses_nothing
@takes_query(NextParameters)
@answers()
def start_openid_login(query: NextParameters) -> Response:
    """Lead the browser to the provider's login page."""
    target = safe_redirect_target(query.next)
    attempt = LoginAttempt(token_urlsafe(24), token_urlsafe(24), token_urlsafe(48), target)
    response = make_response(redirect(_provider().make_login_url(attempt)))
    response.headers["Cache-Control"] = "no-store"
    _send_cookie(response, str(_serializer().dumps(asdict(attempt))), ATTEMPT_S)
    return response


@blueprint.get("/callback")
@public
@audits("login")
@changes_something
@allows_unknown_names
@takes_query(CallbackParameters)
@answers()
def finish_openid_login(query: CallbackParameters) -> ResponseReturnValue:
    """Check what the provider answered, and begin a session."""
    provider, attempt = _provider(), _read_attempt(query.state)
    if query.error or not query.code:
        raise SingleSignOnFailed("The single sign-on did not log you in.", TRY_AGAIN)

    identity = make_identity(shared_context().settings, provider.fetch_claims(attempt, query.code))
    g.audited_user = identity.name
    name = save_user(shared_context().database, identity)
    response = start_session_and_redirect(name, attempt.next, "openid", SESSION_S)
    _send_cookie(response, "", 0)
    return response


@blueprint.get("/logout")
@public
@discloses_nothing
@answers()
def redirect_to_provider_logout() -> ResponseReturnValue:
    """Lead the browser to the provider's own logout, for who leaves a machine that others use."""
    return redirect(_provider().make_logout_url() or "/login")


def _provider() -> OpenIdProvider:
    provider = shared_context().openid_provider
    if provider is None:
        raise NotFound("There is no single sign-on here.", "Log in at /login; MINIPACS_OPENID_ISSUER sets one up.")
    return provider


def _read_attempt(state: str) -> LoginAttempt:
    """The attempt that this browser began; no other site, and no older answer, can end it."""
    try:
        attempt = LoginAttempt(**_serializer().loads(request.cookies.get(COOKIE, ""), max_age=ATTEMPT_S))
    except (BadData, TypeError) as error:
        raise SingleSignOnFailed("This login did not begin here, or took too long.", TRY_AGAIN) from error
    if not hmac.compare_digest(attempt.state.encode(), state.encode("utf-8", "surrogatepass")):
        raise SingleSignOnFailed("This login did not begin here, or took too long.", TRY_AGAIN)
    return attempt


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.secret_key), salt="minipacs openid")


def _send_cookie(response: Response, value: str, max_age_s: int) -> None:
    response.set_cookie(
        COOKIE, value, max_age=max_age_s, path=blueprint.url_prefix or "/",
        httponly=True, samesite="Lax", secure=is_address_https(),
    )  # fmt: skip
