"""Log in, log out, choose a password."""

from urllib.parse import urlsplit

from flask import Blueprint, Response, g, make_response, redirect, request
from flask.typing import ResponseReturnValue

from api.auth.access import public, requires_role
from api.auth.accounts import change_password
from api.auth.identify import check_password
from api.auth.roles import role_includes
from api.auth.session_cookie import (
    csrf_token,
    delete_session_cookie,
    read_device,
    read_session_id,
    send_device_cookie,
    send_session_cookie,
)
from api.auth.session_routes import list_own_sessions
from api.auth.sessions import SESSION_S, end_session, start_session
from api.context import shared_context
from api.web.describe_route import (
    BodyFields,
    QueryParameters,
    answers,
    audits,
    discloses_nothing,
    takes_body,
    takes_query,
)
from api.web.responses import make_error_response, render_page, wants_page
from minipacs.errors import BadRequest, NotAllowed

blueprint = Blueprint("login", __name__)


def safe_redirect_target(target: str) -> str:
    """A path of this server; anything else becomes `/`."""
    parts = urlsplit(target)
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if plain and "\\" not in target and not parts.scheme and not parts.netloc else "/"


class NextParameters(QueryParameters):
    """Where the browser goes afterwards."""

    next: str = "/"
    """The page that comes afterwards; a path of this server."""


class LoginFields(BodyFields):
    """Who logs in."""

    user: str
    """The user's name."""
    password: str
    """The user's password."""
    next: str = ""
    """The page that comes afterwards; a path of this server."""


class PasswordFields(BodyFields):
    """The present password and another; `again` is the other once more."""

    old: str
    """The present password."""
    new: str
    """The new one: at least 8 characters."""
    again: str | None = None
    """The new one once more, where a person typed it."""
    next: str = "/"
    """The page that comes afterwards; a path of this server."""


@blueprint.get("/login")
@discloses_nothing
@public
@takes_query(NextParameters)
@answers(page="login.html")
def login_form(query: NextParameters) -> str:
    """The login page."""
    return render_page({"next": safe_redirect_target(query.next), "wrong": ""})


@blueprint.post("/login")
@public
@audits("login")
@takes_body(LoginFields)
@takes_query(NextParameters)
@answers(page="login.html")
def log_in(query: NextParameters, body: LoginFields) -> ResponseReturnValue:
    """Check name and password, and begin a session."""
    g.audited_user = body.user[:64]
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        raise NotAllowed("This login came from another site.", "Open /login here.")

    target = safe_redirect_target(body.next or query.next)
    user = check_password(body.user, body.password, read_device(body.user))
    if user is None:
        wrong = "User name or password is wrong."
        if not wants_page():
            return make_error_response("wrong_login", wrong, "Try again.", 401)
        return render_page({"next": target, "wrong": wrong, "name": body.user}), 401

    return start_session_and_redirect(user.name, target)


@blueprint.post("/logout")
@requires_role("viewer")
@audits("logout")
@answers()
def log_out() -> ResponseReturnValue:
    """End the session, in every process at once."""
    end_session(shared_context().database, read_session_id())
    response = make_response(redirect("/login", 303))
    delete_session_cookie(response)
    response.headers["Clear-Site-Data"] = '"cache"'  # what the browser kept of images; it does so by https alone
    return response


@blueprint.get("/account")
@discloses_nothing
@takes_query(NextParameters)
@answers(page="account.html")
def account_page(query: NextParameters) -> str:
    """The page of one's own account: the password, and the sessions."""
    sessions = list_own_sessions() if not g.user.must_change else []
    user = shared_context().proofs.find_user(g.user.name)
    has_password = user is None or bool(user.password_hash)
    return render_page({"next": safe_redirect_target(query.next), "sessions": sessions, "has_password": has_password})


@blueprint.post("/account")
@requires_role("viewer")
@audits("password")
@takes_body(PasswordFields)
@answers()
def change_own_password(body: PasswordFields) -> ResponseReturnValue:
    """Change one's own password; other sessions of the user end."""
    settings, database = shared_context().settings, shared_context().database
    if g.user.by == "token":
        raise NotAllowed("A token cannot change a password.", "Log in with the password.")
    if g.user.name == settings.admin_user and settings.admin_password:
        raise BadRequest("This password is set by MINIPACS_ADMIN_PASSWORD.", "Change it there.")
    if check_password(g.user.name, body.old, g.user.session_id_hash) is None:
        raise BadRequest("The present password is wrong.", "Try again.")
    if body.again is not None and body.new != body.again:
        raise BadRequest("The two new passwords differ.", "Type the same twice.")

    change_password(database, settings, g.user.name, body.new)
    target = safe_redirect_target(body.next)
    return start_session_and_redirect(g.user.name, target) if g.user.by == "session" else redirect(target, 303)


def start_session_and_redirect(
    user_name: str, target: str, login: str = "password", lifetime_s: float = SESSION_S
) -> Response:
    """Start a session with an identifier that nobody has seen (the one the browser had ends), and go to `target`."""
    database = shared_context().database
    if former := read_session_id():
        end_session(database, former)

    session_id = start_session(
        database, user_name, login=login, address=request.remote_addr or "", lifetime_s=lifetime_s
    )
    response = make_response(redirect(target, 303))
    send_session_cookie(response, session_id)
    send_device_cookie(response, user_name)
    return response


def template_globals() -> dict[str, object]:
    """What every template may use."""
    return {
        "csrf_token": csrf_token,
        "user": g.get("user"),
        "has_role": has_role,
        "idle_logoff": has_idle_logoff(),
        "has_openid": bool(shared_context().settings.openid_issuer),
    }


def has_idle_logoff() -> bool:
    """Whether this page belongs to a session that ends when nobody uses it."""
    user = g.get("user")
    return user is not None and user.by == "session" and shared_context().settings.idle_minutes > 0


def has_role(role: str) -> bool:
    """Whether the user of this page may do what needs `role`."""
    user = g.get("user")
    return user is not None and role_includes(user.role, role)
