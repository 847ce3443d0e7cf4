"""Sessions of one's own: how long this one lives, which others there are, the end of the others."""

from typing import TypedDict

from flask import Blueprint, g
from flask.typing import ResponseReturnValue

from api.auth.access import does_not_extend_session, requires_role
from api.auth.sessions import end_sessions, list_sessions
from api.context import shared_context
from api.web.describe_route import answers, audits, discloses_nothing
from api.web.responses import send_json_or_redirect
from api.web.row_json import iso_time
from minipacs.errors import NotAllowed

blueprint = Blueprint("sessions", __name__)


class LoginJson(TypedDict):
    """Who makes the request, and how long the session lives without use."""

    name: str
    role: str
    by: str
    ends_in_s: float | None


class SessionJson(TypedDict):
    """A session of one's own; `is_this` marks the one that asks."""

    login: str
    address: str
    created: str | None
    last_used: str | None
    is_this: bool


class EndedSessions(TypedDict):
    """How many sessions ended."""

    ended: int


@blueprint.get("/session")
@does_not_extend_session
@discloses_nothing
@answers(LoginJson)
def show_own_login() -> LoginJson:
    """Who makes this request, by what, and in how many seconds the session ends if nobody uses it."""
    return {"name": g.user.name, "role": g.user.role, "by": g.user.by, "ends_in_s": _remaining_s()}


@blueprint.post("/session/use")
@requires_role("viewer")
@discloses_nothing
@answers(LoginJson)
def report_use() -> LoginJson:
    """A person uses a page of this session: pages and viewer report it once a minute while there is input."""
    return {"name": g.user.name, "role": g.user.role, "by": g.user.by, "ends_in_s": _remaining_s()}


@blueprint.get("/account/sessions")
@discloses_nothing
@answers(list[SessionJson])
def list_own_sessions() -> list[SessionJson]:
    """Every session of one's own that can be used, the one that was used last first."""
    idle_s = shared_context().settings.idle_minutes * 60
    return [
        {
            "login": found.login,
            "address": found.address,
            "created": iso_time(found.created),
            "last_used": iso_time(found.last_used),
            "is_this": found.id_hash == g.user.session_id_hash,
        }
        for found in list_sessions(shared_context().database, g.user.name, idle_s)
    ]


@blueprint.post("/account/sessions/end")
@requires_role("viewer")
@audits("logout")
@answers(EndedSessions)
def end_own_other_sessions() -> ResponseReturnValue:
    """End every session of one's own but the one that asks."""
    if g.user.by == "token":
        raise NotAllowed("A token cannot end sessions.", "Log in with the password.")

    ended = end_sessions(shared_context().database, g.user.name, except_id_hash=g.user.session_id_hash)
    return send_json_or_redirect(EndedSessions(ended=ended), "/account")


def _remaining_s() -> float | None:
    """Seconds until this session ends without use; None where the proof is no session."""
    found = shared_context().proofs.find_session(g.user.session_id_hash) if g.user.session_id_hash else None
    if found is None:
        return None
    idle_s = shared_context().settings.idle_minutes * 60
    ends = min(found.ends, found.last_used + idle_s) if idle_s else found.ends
    return max(ends - found.now, 0.0)
