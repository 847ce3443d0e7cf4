"""Every answer leaves its entry in the audit before it is sent: who, from where, what, which studies and patients.

A route that changes something says the audit's word for it (`@audits`), and its act is noted before it is done:
one that a killed process left undone or unfinished stands there as interrupted. A route that shows nothing of
patients says so (`@discloses_nothing`). All others are looks: `view` where a study or a patient is named,
`search` for lists. What cannot be noted is not answered.
"""

import re
import time
from collections.abc import Iterable
from typing import cast
from urllib.parse import unquote_plus

from flask import Flask, Response, current_app, g, request
from msgspec.structs import replace

from api.auth.accounts import Principal
from api.web.describe_route import READING, RouteDescription, current_description
from api.web.disclosed import Disclosure
from api.web.responses import make_error_response
from api.web.secret_addresses import path_without_secrets
from minipacs.audit.audit_log import AuditLog, Key
from minipacs.audit.entry import (
    MAX_NAME_CHARACTERS,
    MAX_NAMED,
    MAX_PATH_CHARACTERS,
    MAX_QUERY_CHARACTERS,
    NewEntry,
    clean_text,
)
from minipacs.errors import AuditUnavailable
from minipacs.formats.uids import is_uid

VIEW, SEARCH, FAILURE = "view", "search", "failure"
REFUSALS = (401, 403, 429)
RENDERING = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
UID = re.compile(rf"[0-9]+(?:\.[0-9]+){{3,}}|{RENDERING}")
"""A UID, or the identifier of a rendering."""
STUDY = re.compile(r"/(?:studies|results|download)/([0-9]+(?:\.[0-9]+)+)")
NOBODY = Principal("nobody", "", "none")


def install(app: Flask) -> None:
    """Note every request: acts before and after they are done, everything else before its answer is sent."""
    context = app.extensions["minipacs"]
    app.extensions["minipacs_audit"] = AuditLog(context.database, context.settings.home)
    app.before_request(note_beginning)
    app.after_request(note_answer)


def audit_log() -> AuditLog:
    """The audit of this application."""
    return cast(AuditLog, current_app.extensions["minipacs_audit"])


def note_beginning() -> None:
    """Note an act before it is done. The guard has let it through."""
    description = current_description()
    if request.method in READING and not description.changes_something:
        return
    if description.is_described and not description.discloses_nothing:
        g.audit_number = audit_log().begin(make_entry(choose_action(description, 0), 0))


def note_answer(response: Response) -> Response:
    """Note this request, before its answer is sent; where that fails, the answer is 503."""
    action = choose_action(current_description(), response.status_code)
    if not action:
        return response
    try:
        _note(response, action)
    except AuditUnavailable as error:
        response.close()
        return make_error_response(error.code, error.message, error.hint, error.status)
    return response


def choose_action(description: RouteDescription, status: int) -> str:
    """The audit's word for this request; empty where it is worth no entry."""
    if request.method == "OPTIONS":
        return ""
    environ = request.environ
    names_uid = UID.search(environ["PATH_INFO"]) or UID.search(environ.get("QUERY_STRING", ""))
    if status in REFUSALS or _was_sent_to_login(description, status):
        return FAILURE if status in REFUSALS or description.is_described or names_uid else ""
    if description.audit_action:
        return description.audit_action
    if description.discloses_nothing:
        return ""
    if description.is_described and request.method not in READING:
        return "change"  # a test sees that no route relies on it
    if names_uid or g.get("audited_study") or (request.view_args or {}).get("patient_id"):
        return VIEW
    return SEARCH if description.is_described else ""


def _was_sent_to_login(description: RouteDescription, status: int) -> bool:
    return status == 302 and g.get("user") is None and not description.is_public


def _note(response: Response, action: str) -> None:
    number = g.get("audit_number")
    if number is not None:
        audit_log().end(number, make_entry(action, response.status_code))
        return

    user = _user()
    is_look = action in (VIEW, SEARCH) or (action == FAILURE and (request.method in READING or user is NOBODY))
    if not is_look:
        is_durable = request.method not in READING
        audit_log().add(make_entry(action, response.status_code), is_durable=is_durable)
    else:
        about = _about(user, action, response.status_code)
        audit_log().add_look(about, time.time(), lambda: make_entry(action, response.status_code, is_look=True))

    disclosure: Disclosure | None = g.get("disclosure")
    if disclosure is not None and disclosure.is_streamed and response.status_code < 400:
        _note_end_of_stream(response, make_entry(action, response.status_code, is_look=is_look), disclosure)


def _about(user: Principal, action: str, status: int) -> Key:
    """What makes two looks of a user the same: the study; without one the whole address and what it showed."""
    address = request.remote_addr or ""
    study = STUDY.search(request.environ["PATH_INFO"])
    if study is not None:
        return (user.name, user.by, address, action, str(status), study[1])
    disclosure: Disclosure | None = g.get("disclosure")
    shown = (*disclosure.uids, *disclosure.patients) if disclosure is not None else ()
    name = str(g.get("audited_user", ""))
    return (user.name, user.by, address, action, str(status), request.full_path, name, *shown)


def _note_end_of_stream(response: Response, begun: NewEntry, disclosure: Disclosure) -> None:
    """At the end of a stream, whole or cut off, note what was sent."""
    log = audit_log()

    def note_end() -> None:
        ended = replace(
            begun,
            at=time.time(),
            uids=tuple(disclosure.uids),
            patients=tuple(disclosure.patients),
            disclosed=disclosure.rows,
        )
        about = (ended.user, ended.by, ended.address, ended.path, ended.query, *ended.uids)
        if ended.is_look:
            log.add_look(about, ended.at, lambda: ended)
        else:
            log.add(ended)

    response.call_on_close(note_end)


def make_entry(action: str, status: int, *, is_look: bool = False) -> NewEntry:
    """The entry of this request. With a PatientID the path is the endpoint: the ID stands in its own column."""
    arguments = request.view_args or {}
    user, patient = _user(), arguments.get("patient_id")
    disclosure: Disclosure | None = g.get("disclosure")
    path = (request.endpoint or "") if patient else path_without_secrets()
    query = request.query_string.decode("utf-8", "replace")
    uids = [*UID.findall(f"{request.path}?{query}"), g.get("audited_study") or ""]
    patients = [patient or ""]
    if disclosure is not None:
        uids += disclosure.uids
        patients += disclosure.patients

    return NewEntry(
        at=time.time(),
        user=clean_text(user.name[:MAX_NAME_CHARACTERS]),
        by=user.by,
        address=request.remote_addr or "",
        action=action,
        method=request.method,
        path=clean_text(path[:MAX_PATH_CHARACTERS]),
        status=status,
        query=clean_text(unquote_plus(query[:MAX_QUERY_CHARACTERS])),
        uids=_each_once(uid for uid in uids if _is_identifier(uid)),
        patients=_each_once(patients),
        disclosed=disclosure.rows if disclosure is not None else 0,
        is_look=is_look,
    )


def _each_once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(clean_text(name[:MAX_NAME_CHARACTERS]) for name in names if name))[:MAX_NAMED]


def _is_identifier(text: str) -> bool:
    """Whether an object can have this UID, or a rendering this identifier: nothing longer is looked up."""
    return is_uid(text) or re.fullmatch(RENDERING, text) is not None


def _user() -> Principal:
    """Who makes this request; before a login, the name that was given."""
    if g.get("user") is not None:
        return cast(Principal, g.user)
    name = str(g.get("audited_user", ""))
    return Principal(name, "", "none") if name else NOBODY
