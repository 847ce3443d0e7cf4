"""Every answer leaves its entry in the audit before it is sent: who, from where, what, which studies and patients.

A route that changes something says the audit's word for it (`@audits`), and its act is noted before it is done:
one that a killed process left undone or unfinished stands there as interrupted. A route that shows nothing of
patients says so (`@discloses_nothing`). All others are looks: `view` where a study or a patient is named,
`search` for lists. What cannot be noted is not answered.
"""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote_plus

from flask import Flask, Request, Response, current_app, g, request
from msgspec.structs import replace

from api.auth.accounts import Principal
from api.web.describe_route import READING, RouteDescription, read_description
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


@dataclass(slots=True)
class AuditedRequest:
    """What the audit reads of a request, taken from Flask's proxies once: each use of one costs as much as the rest."""

    log: AuditLog
    flask: Request
    description: RouteDescription
    noted: Mapping[str, Any]
    """What views and the guard noted in `flask.g`."""

    @property
    def user(self) -> Principal:
        """Who makes this request; before a login, the name that was given."""
        user = self.noted.get("user")
        if user is not None:
            return cast(Principal, user)
        name = str(self.noted.get("audited_user", ""))
        return Principal(name, "", "none") if name else NOBODY

    @property
    def disclosure(self) -> Disclosure | None:
        """What the answer shows, where the view noted it."""
        return self.noted.get("disclosure")


def current_request() -> AuditedRequest:
    """The request that is handled."""
    app = cast(Flask, current_app._get_current_object())  # type: ignore[attr-defined]
    asked = cast(Request, request._get_current_object())  # type: ignore[attr-defined]
    description = read_description(app.view_functions.get(asked.endpoint or ""))
    return AuditedRequest(app.extensions["minipacs_audit"], asked, description, vars(g))


def note_beginning() -> None:
    """Note an act before it is done. The guard has let it through."""
    asked = current_request()
    description = asked.description
    if asked.flask.method in READING and not description.changes_something:
        return
    if description.is_described and not description.discloses_nothing:
        g.audit_number = asked.log.begin(make_entry(asked, choose_action(asked, 0), 0))


def note_answer(response: Response) -> Response:
    """Note this request, before its answer is sent; where that fails, the answer is 503."""
    asked = current_request()
    action = choose_action(asked, response.status_code)
    if not action:
        return response
    try:
        _note(asked, response, action)
    except AuditUnavailable as error:
        response.close()
        return make_error_response(error.code, error.message, error.hint, error.status)
    return response


def choose_action(asked: AuditedRequest, status: int) -> str:
    """The audit's word for this request; empty where it is worth no entry."""
    description, method, environ = asked.description, asked.flask.method, asked.flask.environ
    if method == "OPTIONS":
        return ""
    names_uid = UID.search(environ["PATH_INFO"]) or UID.search(environ.get("QUERY_STRING", ""))
    if status in REFUSALS or _was_sent_to_login(asked, status):
        return FAILURE if status in REFUSALS or description.is_described or names_uid else ""
    if description.audit_action:
        return description.audit_action
    if description.discloses_nothing:
        return ""
    if description.is_described and method not in READING:
        return "change"  # a test sees that no route relies on it
    if names_uid or asked.noted.get("audited_study") or (asked.flask.view_args or {}).get("patient_id"):
        return VIEW
    return SEARCH if description.is_described else ""


def _was_sent_to_login(asked: AuditedRequest, status: int) -> bool:
    return status == 302 and asked.noted.get("user") is None and not asked.description.is_public


def _note(asked: AuditedRequest, response: Response, action: str) -> None:
    number, status = asked.noted.get("audit_number"), response.status_code
    if number is not None:
        asked.log.end(number, make_entry(asked, action, status))
        return

    user, is_reading = asked.user, asked.flask.method in READING
    is_look = action in (VIEW, SEARCH) or (action == FAILURE and (is_reading or user is NOBODY))
    if not is_look:
        asked.log.add(make_entry(asked, action, status), is_durable=not is_reading)
    else:
        about = _about(asked, user, action, status)
        asked.log.add_look(about, time.time(), lambda: make_entry(asked, action, status, is_look=True))

    disclosure = asked.disclosure
    if disclosure is not None and disclosure.is_streamed and status < 400:
        _note_end_of_stream(asked.log, response, make_entry(asked, action, status, is_look=is_look), disclosure)


def _about(asked: AuditedRequest, user: Principal, action: str, status: int) -> Key:
    """What makes two looks of a user the same: the study; without one the whole address. And what else it showed.

    What a look's entry names is in it, so that no look counts as the repeat of one that reached something else.
    """
    address, query = asked.flask.remote_addr or "", asked.flask.environ.get("QUERY_STRING", "")
    disclosure = asked.disclosure
    shown = (*disclosure.uids, *disclosure.patients) if disclosure is not None else ()
    study = STUDY.search(asked.flask.environ["PATH_INFO"])
    if study is not None:
        named = tuple(UID.findall(query)) if query else ()
        return (user.name, user.by, address, action, str(status), study[1], *named, *shown)
    name = str(asked.noted.get("audited_user", ""))
    return (user.name, user.by, address, action, str(status), asked.flask.path, query, name, *shown)


def _note_end_of_stream(log: AuditLog, response: Response, begun: NewEntry, disclosure: Disclosure) -> None:
    """At the end of a stream, whole or cut off, note what was sent."""

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


def make_entry(asked: AuditedRequest, action: str, status: int, *, is_look: bool = False) -> NewEntry:
    """The entry of this request. With a PatientID the path is the endpoint: the ID stands in its own column."""
    user, patient = asked.user, (asked.flask.view_args or {}).get("patient_id")
    disclosure = asked.disclosure
    path = (asked.flask.endpoint or "") if patient else path_without_secrets()
    query = asked.flask.query_string.decode("utf-8", "replace")
    uids = [*UID.findall(f"{asked.flask.path}?{query}"), asked.noted.get("audited_study") or ""]
    patients = [patient or ""]
    if disclosure is not None:
        uids += disclosure.uids
        patients += disclosure.patients

    return NewEntry(
        at=time.time(),
        user=clean_text(user.name[:MAX_NAME_CHARACTERS]),
        by=user.by,
        address=asked.flask.remote_addr or "",
        action=action,
        method=asked.flask.method,
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
