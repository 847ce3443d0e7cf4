"""Log in, log out, choose a password."""

from secrets import token_urlsafe
from urllib.parse import urlsplit

from flask import Blueprint, g, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from api.auth import login_limit
from api.auth.accounts import User, change_password, stamp
from api.auth.guard import check_password
from api.auth.roles import includes, public, requires
from api.context import context
from api.web.responses import error_answer, wants_page
from minipacs.errors import BadRequest, NotAllowed

blueprint = Blueprint("login", __name__)


def safe_next(target: str) -> str:
    """A path of this server; anything else becomes `/`."""
    parts = urlsplit(target)
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if plain and "\\" not in target and not parts.scheme and not parts.netloc else "/"


@blueprint.get("/login")
@public
def form() -> ResponseReturnValue:
    """The login page."""
    return render_template("login.html", next=safe_next(request.args.get("next", "/")), wrong="")


@blueprint.post("/login")
@public
def enter() -> ResponseReturnValue:
    """Check name and password; a session begins."""
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        raise NotAllowed("This login came from another site.", "Open /login here.")
    name, password = request.form.get("user", ""), request.form.get("password", "")
    target = safe_next(request.form.get("next") or request.args.get("next", "/"))
    user = check_password(name, password)
    if user is None:
        if not wants_page():
            return error_answer("wrong_login", "User name or password is wrong.", "Try again.", 401)
        return render_template("login.html", next=target, wrong="User name or password is wrong.", name=name), 401
    login_limit.forget(context().database, name, request.remote_addr or "")
    begin_session(user)
    return redirect(target, 303)


def begin_session(user: User) -> None:
    """A fresh session for this user."""
    session.clear()
    session.update(user=user.name, stamp=stamp(user), csrf=token_urlsafe(24))
    session.permanent = True


@blueprint.post("/logout")
@requires("viewer")
def leave() -> ResponseReturnValue:
    """The session ends."""
    session.clear()
    return redirect("/login", 303)


@blueprint.get("/account")
def account() -> ResponseReturnValue:
    """The page to choose a password."""
    return render_template("account.html", next=safe_next(request.args.get("next", "/")))


@blueprint.post("/account")
@requires("viewer")
def choose_password() -> ResponseReturnValue:
    """Change one's own password; other sessions of the user end."""
    if g.user.by == "token":
        raise NotAllowed("A token cannot change a password.", "Log in with the password.")
    settings, database = context().settings, context().database
    if g.user.name == settings.admin_user and settings.admin_password:
        raise BadRequest("This password is set by MINIPACS_ADMIN_PASSWORD.", "Change it there.")
    if check_password(g.user.name, request.form.get("old", "")) is None:
        raise BadRequest("The present password is wrong.", "Try again.")
    if request.form.get("new", "") != request.form.get("again", request.form.get("new", "")):
        raise BadRequest("The two new passwords differ.", "Type the same twice.")
    change_password(database, settings, g.user.name, request.form.get("new", ""))
    with database.reading() as db:
        user = db.get(User, g.user.name)
    if user is not None and g.user.by == "session":
        begin_session(user)
    return redirect(safe_next(request.form.get("next", "/")), 303)


def csrf_token() -> str:
    """For the hidden field of forms."""
    return str(session.get("csrf", ""))


def globals_of_pages() -> dict[str, object]:
    """What every template may use."""
    return {"csrf_token": csrf_token, "user": g.get("user"), "may": may}


def may(role: str) -> bool:
    """Whether the user of this page may do what needs `role`."""
    user = g.get("user")
    return user is not None and includes(user.role, role)
