"""Who makes a request: by API token, by user and password, or by the session's cookie."""

import hmac
from hashlib import sha256

from flask import current_app, request, session
from sqlalchemy import select

from api.auth import login_limit, principal_cache
from api.auth.accounts import (
    HASH_OF_NOBODY,
    Principal,
    Token,
    User,
    fingerprint_password,
    hash_token,
    is_right_password,
)
from api.context import context


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


def check_password(name: str, password: str) -> User | None:
    """The user, when this is the password. Failures are counted; too many raise `TooManyAttempts`."""
    if "\x00" in name:
        return None
    database, address = context().database, request.remote_addr or ""
    login_limit.check_failure_limit(database, name, address)

    with database.reading() as db:
        user = db.get(User, name)
    if is_right_password(user.password_hash if user else HASH_OF_NOBODY, password) and user is not None:
        return user

    login_limit.count_failure(database, name, address)
    return None


def _identify_by_token(token: str) -> Principal | None:
    proof = hash_token(token)
    if known := context().principals.get(proof):
        return known

    with context().database.reading() as db:
        found = db.scalar(select(Token).where(Token.token_hash == proof))
    if found is None:
        return None

    principal = Principal(found.user_name or f"token:{found.name}", found.role, "token")
    context().principals.put(proof, principal, principal_cache.TOKEN_MAX_AGE_S)
    return principal


def _identify_by_session() -> Principal | None:
    name, stamp = session.get("user"), session.get("stamp")
    if not isinstance(name, str) or not isinstance(stamp, str):
        return None
    proof = f"session:{name}:{stamp}"
    if known := context().principals.get(proof):
        return known

    with context().database.reading() as db:
        user = db.get(User, name)
    if user is None or not hmac.compare_digest(fingerprint_password(user), stamp):
        return None

    principal = Principal(name, user.role, "session", user.must_change)
    if not user.must_change:  # who must change the password is let on as soon as it is changed
        context().principals.put(proof, principal, principal_cache.TOKEN_MAX_AGE_S)
    return principal


def _identify_by_password(name: str, password: str) -> Principal | None:
    key = str(current_app.secret_key).encode()
    proof = hmac.new(key, f"{name}:{password}".encode(), sha256).hexdigest()
    if known := context().principals.get(proof):
        return known

    user = check_password(name, password)
    if user is None:
        return None
    principal = Principal(user.name, user.role, "basic")
    context().principals.put(proof, principal, principal_cache.PASSWORD_MAX_AGE_S)
    return principal
