"""Who makes a request: by API token, by user and password, or by the session's cookie."""

from flask import request

from api.auth import login_limit
from api.auth.accounts import Principal, find_restriction_of_user, hash_token, make_token_principal
from api.auth.proof_lookup import UserRow
from api.auth.session_cookie import read_session_id
from api.auth.session_use import is_use_by_person
from api.auth.sessions import hash_session_id
from api.context import shared_context


def identify_user() -> Principal | None:
    """Who makes this request; None without a proof, or with one that is not true.

    Proofs, in this order: `Authorization: Bearer` (API token), `Authorization: Basic` (user and password,
    for scripts), session cookie (pages, OHIF).
    """
    authorization = request.authorization
    if authorization is None:
        return _identify_by_session()
    if authorization.type == "bearer" and authorization.token:
        return _identify_by_token(authorization.token)
    if authorization.type == "basic":
        return _identify_by_password(authorization.username or "", authorization.password or "")
    return None


def check_password(name: str, password: str, device: str = "") -> UserRow | None:
    """The user, when this is the password. `device` names a browser that this user has logged in with before.

    Attempts are counted for that browser, else for the address; too many raise `TooManyAttempts`.
    """
    client = login_limit.make_client_key(request.remote_addr or "", device)
    return shared_context().passwords.check(name, password, client)


def _identify_by_token(token: str) -> Principal | None:
    found = shared_context().proofs.find_token(hash_token(token))
    return None if found is None else make_token_principal(found)


def _identify_by_session() -> Principal | None:
    session_id = read_session_id()
    if not session_id:
        return None
    id_hash = hash_session_id(session_id)
    found = shared_context().proofs.find_session(id_hash)
    if found is None:
        return None

    idle_s = shared_context().settings.idle_minutes * 60
    if found.now >= found.ends or (idle_s and found.now - found.last_used >= idle_s):
        return None
    if is_use_by_person():
        shared_context().session_uses.record(id_hash)
    restriction = find_restriction_of_user(found.user_name, found.role, found.sees_all)
    return Principal(found.user_name, found.role, "session", bool(found.must_change), id_hash, restriction)


def _identify_by_password(name: str, password: str) -> Principal | None:
    found = check_password(name, password)
    if found is None:
        return None
    restriction = find_restriction_of_user(found.name, found.role, found.sees_all)
    return Principal(found.name, found.role, "basic", bool(found.must_change), restricted_to=restriction)
