"""Administration: users, tokens, what could not be catalogued."""

from typing import Any

from flask import Blueprint, g, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from api.auth import accounts
from api.auth.roles import ROLES, requires
from api.context import context
from api.web import paging
from api.web.responses import wants_page
from api.work.jobs import moment
from minipacs.catalogue import Rejection
from minipacs.errors import BadRequest

blueprint = Blueprint("admin", __name__)


@blueprint.get("/admin")
@requires("admin")
def page() -> str:
    """The page."""
    with context().database.reading() as session:
        troubles = session.execute(
            select(Rejection.code, func.count(), func.min(Rejection.reason), func.min(Rejection.remedy))
            .group_by(Rejection.code)
            .order_by(func.count().desc())
        ).all()
    return render_template("admin.html", users=users(), tokens=tokens(), roles=ROLES, troubles=troubles, made=None)


@blueprint.get("/users")
@requires("admin")
def users() -> list[dict[str, Any]]:
    """Every user, without password."""
    with context().database.reading() as session:
        found = session.scalars(select(accounts.User).order_by(accounts.User.name))
        return [{"name": u.name, "role": u.role, "created": moment(u.created)} for u in found]


@blueprint.post("/users")
@requires("admin")
def add_user() -> ResponseReturnValue:
    """Make a user (`name`, `role`, `password`), or change one; the first login asks for a new password."""
    name, password = request.form.get("name", ""), request.form.get("password", "")
    if len(password) < accounts.SHORTEST:
        raise BadRequest(f"A password has at least {accounts.SHORTEST} characters.", "Choose a longer one.")
    if name == g.user.name:
        raise BadRequest("This is your own name.", "Change your password at /account.")
    accounts.set_user(context().database, name, request.form.get("role", "viewer"), password, must_change=True)
    return redirect("/admin", 303) if wants_page() else ({"name": name}, 201)


@blueprint.post("/users/<name>/role")
@requires("admin")
def change_role(name: str) -> ResponseReturnValue:
    """Give a user another `role`; it counts within seconds."""
    role = request.form.get("role", "")
    if name == g.user.name:
        raise BadRequest("This is your own name.", "Ask another administrator.")
    accounts.set_role(context().database, name, role)
    return redirect("/admin", 303) if wants_page() else {"name": name, "role": role}


@blueprint.post("/users/<name>/remove")
@requires("admin")
def remove_user(name: str) -> ResponseReturnValue:
    """Remove a user; sessions and tokens end within seconds."""
    accounts.delete_user(context().database, name)
    return redirect("/admin", 303) if wants_page() else {"name": name, "removed": True}


@blueprint.get("/tokens")
@requires("admin")
def tokens() -> list[dict[str, Any]]:
    """Every token, without its secret."""
    return [{"name": t.name, "role": t.role, "created": moment(t.created)} for t in accounts.tokens(context().database)]


@blueprint.post("/tokens")
@requires("admin")
def add_token() -> ResponseReturnValue:
    """Make a token (`name`, `role`); the answer is the only time it is seen."""
    name = request.form.get("name", "").strip()
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise BadRequest("A token's name has 1 to 64 printable characters.", "Choose another name.")
    token = accounts.create_token(context().database, name, request.form.get("role", "viewer"))
    if not wants_page():
        return {"name": name, "token": token}, 201
    return render_template("admin.html", users=users(), tokens=tokens(), roles=ROLES, troubles=[], made=token), 201


@blueprint.post("/tokens/<path:name>/revoke")
@requires("admin")
def remove_token(name: str) -> ResponseReturnValue:
    """Make a token worthless."""
    accounts.revoke_token(context().database, name)
    return redirect("/admin", 303) if wants_page() else {"name": name, "revoked": True}


@blueprint.get("/rejections")
def rejections() -> dict[str, Any]:
    """What could not be catalogued or rendered, and why; the newest are not first, the list is by source."""
    chosen = paging.filtered(select(Rejection), {"code": paging.equals(Rejection.code)})
    with context().database.reading() as session:
        answer = paging.page(session, chosen, [(Rejection.source, False)], "rejections")
    return answer
