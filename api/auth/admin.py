"""Administration: users, tokens, what could not be catalogued."""

from typing import TypedDict

from flask import Blueprint, g
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from api.auth import accounts
from api.auth.access import requires_role
from api.auth.roles import ROLES
from api.auth.session_routes import EndedSessions
from api.auth.sessions import end_sessions
from api.context import context
from api.web.describe_route import BodyFields, answers, audits, takes_body
from api.web.responses import render_page, send_json_or_page, send_json_or_redirect
from api.web.row_json import iso_time
from minipacs.catalogue import Rejection
from minipacs.errors import BadRequest, NotFound

blueprint = Blueprint("admin", __name__)
MAX_NAME_CHARACTERS = 64


class AccountJson(TypedDict):
    """A user without password, or a token without its secret."""

    name: str
    role: str
    created: str | None
    sees_all: bool
    """Whether every study is visible to it, or those of its groups alone."""


class AccountVisibility(TypedDict):
    """Whether a user or a token sees all studies from now on."""

    name: str
    sees_all: bool


class NamedUser(TypedDict):
    """The user that was made or changed."""

    name: str


class UserRole(NamedUser):
    """The user's role from now on."""

    role: str


class RemovedUser(NamedUser):
    """The user that was removed."""

    removed: bool


class NewToken(TypedDict):
    """A token; this is the only time that it is seen."""

    name: str
    token: str


class RevokedToken(TypedDict):
    """The token that was revoked."""

    name: str
    revoked: bool


class UserFields(BodyFields):
    """A user, with a password for the first login."""

    name: str
    """1 to 64 printable characters, no colon."""
    password: str
    """For the first login, which asks for another; at least 8 characters."""
    role: str = "viewer"
    """One of viewer, annotator, operator, admin."""
    sees_all: bool = True
    """false: of a new user, and of one that is changed, the studies of the user's groups alone are visible."""


class VisibilityFields(BodyFields):
    """Which studies are visible."""

    sees_all: bool
    """true: all; false: those of the groups that the user or token is in."""


class RoleFields(BodyFields):
    """Another role."""

    role: str
    """One of viewer, annotator, operator, admin."""


class TokenFields(BodyFields):
    """A token's name and role."""

    name: str
    """1 to 64 printable characters; each token has another."""
    role: str = "viewer"
    """One of viewer, annotator, operator, admin."""
    sees_all: bool = True
    """Whether it shows every study, or those of its groups alone."""


@blueprint.get("/admin")
@requires_role("admin")
@answers(page="admin.html")
def admin_page() -> str:
    """The page of administration: users, tokens, and what could not be catalogued, counted by its cause."""
    counted = select(Rejection.code, func.count(), func.min(Rejection.reason), func.min(Rejection.remedy))
    with context().database.reading() as session:
        rejections = session.execute(counted.group_by(Rejection.code).order_by(func.count().desc())).all()
    return render_page(page_values(rejections=rejections, new_token=None))


@blueprint.get("/users")
@requires_role("admin")
@answers(list[AccountJson])
def users() -> list[AccountJson]:
    """Every user, without password."""
    with context().database.reading() as session:
        found = session.scalars(select(accounts.User).order_by(accounts.User.name))
        return [{"name": u.name, "role": u.role, "created": iso_time(u.created), "sees_all": u.sees_all} for u in found]


@blueprint.post("/users")
@requires_role("admin")
@audits("admin")
@takes_body(UserFields)
@answers(NamedUser)
def add_user(body: UserFields) -> ResponseReturnValue:
    """Make a user (`name`, `role`, `password`), or change one; the first login asks for a new password."""
    if len(body.password) < accounts.MIN_PASSWORD_LENGTH:
        raise BadRequest(f"A password has at least {accounts.MIN_PASSWORD_LENGTH} characters.", "Choose a longer one.")
    if body.name == g.user.name:
        raise BadRequest("This is your own name.", "Change your password at /account.")

    accounts.create_or_change_user(
        context().database, body.name, body.role, body.password, must_change=True, sees_all=body.sees_all
    )
    return send_json_or_redirect(NamedUser(name=body.name), "/admin", status=201)


@blueprint.post("/users/<name>/role")
@requires_role("admin")
@audits("admin")
@takes_body(RoleFields)
@answers(UserRole)
def change_role(body: RoleFields, name: str) -> ResponseReturnValue:
    """Give a user another `role`; it counts from the next request on."""
    if name == g.user.name:
        raise BadRequest("This is your own name.", "Ask another administrator.")

    accounts.set_role(context().database, name, body.role)
    return send_json_or_redirect(UserRole(name=name, role=body.role), "/admin")


@blueprint.post("/users/<name>/visibility")
@requires_role("admin")
@audits("admin")
@takes_body(VisibilityFields)
@answers(AccountVisibility)
def change_visibility_of_user(body: VisibilityFields, name: str) -> ResponseReturnValue:
    """Let a user see all studies (`sees_all`), or those of the user's groups alone."""
    accounts.set_sees_all(context().database, name, body.sees_all)
    return send_json_or_redirect(AccountVisibility(name=name, sees_all=body.sees_all), "/admin")


@blueprint.post("/users/<name>/remove")
@requires_role("admin")
@audits("admin")
@answers(RemovedUser)
def remove_user(name: str) -> ResponseReturnValue:
    """Remove a user; the user's sessions and tokens end with it."""
    accounts.delete_user(context().database, name)
    return send_json_or_redirect(RemovedUser(name=name, removed=True), "/admin")


@blueprint.post("/users/<name>/sessions/end")
@requires_role("admin")
@audits("admin")
@answers(EndedSessions)
def end_users_sessions(name: str) -> ResponseReturnValue:
    """End every session of a user, who may log in again."""
    if context().proofs.find_user(name) is None:
        raise NotFound(f"There is no user {name!r}.", "GET /users lists them.")
    ended = end_sessions(context().database, name)
    return send_json_or_redirect(EndedSessions(ended=ended), "/admin")


@blueprint.get("/tokens")
@requires_role("admin")
@answers(list[AccountJson])
def tokens() -> list[AccountJson]:
    """Every token, without its secret."""
    found = accounts.list_tokens(context().database)
    return [{"name": t.name, "role": t.role, "created": iso_time(t.created), "sees_all": t.sees_all} for t in found]


@blueprint.post("/tokens")
@requires_role("admin")
@audits("admin")
@takes_body(TokenFields)
@answers(NewToken, page="admin.html")
def add_token(body: TokenFields) -> ResponseReturnValue:
    """Make a token (`name`, `role`); the answer is the only time it is seen. It ends with the user who made it."""
    name = body.name.strip()
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise BadRequest("A token's name has 1 to 64 printable characters.", "Choose another name.")

    owner = None if g.user.name.startswith(accounts.TOKEN_PREFIX) else g.user.name
    token = accounts.create_token(context().database, name, body.role, owner, sees_all=body.sees_all)
    return send_json_or_page(
        NewToken(name=name, token=token), lambda: page_values(rejections=[], new_token=token), status=201
    )


@blueprint.post("/tokens/<path:name>/visibility")
@requires_role("admin")
@audits("admin")
@takes_body(VisibilityFields)
@answers(AccountVisibility)
def change_visibility_of_token(body: VisibilityFields, name: str) -> ResponseReturnValue:
    """Let a token show all studies (`sees_all`), or those of its groups alone."""
    accounts.set_sees_all(context().database, accounts.make_token_member_name(name), body.sees_all)
    return send_json_or_redirect(AccountVisibility(name=name, sees_all=body.sees_all), "/admin")


@blueprint.post("/tokens/<path:name>/revoke")
@requires_role("admin")
@audits("admin")
@answers(RevokedToken)
def remove_token(name: str) -> ResponseReturnValue:
    """Make a token worthless."""
    accounts.revoke_token(context().database, name)
    return send_json_or_redirect(RevokedToken(name=name, revoked=True), "/admin")


def page_values(**more: object) -> dict[str, object]:
    """What the page of administration shows."""
    return {"users": users(), "tokens": tokens(), "roles": ROLES, **more}
