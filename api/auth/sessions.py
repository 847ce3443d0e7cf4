"""Sessions of people who have logged in: rows of the database, so that one that ends has ended in every process.

The browser holds 256 random bits in a cookie; the row holds their hash. A session ends at logout, with its user,
with the password, after `MINIPACS_IDLE_MINUTES` without use, and at the latest after `SESSION_S`.
"""

import hmac
import secrets
from dataclasses import dataclass

from sqlalchemy import Double, ForeignKey, delete, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.auth.key_lookup import wait_for_leases
from minipacs.database import Database
from minipacs.tables import Base

SESSION_S = 7 * 86400.0
"""A session ends after so many seconds, however much it is used."""


class LoginSession(Base):
    """One login of one user in one browser."""

    __tablename__ = "api_session"
    id_hash: Mapped[str] = mapped_column(primary_key=True)
    user_name: Mapped[str] = mapped_column(ForeignKey("api_user.name", ondelete="CASCADE"), index=True)
    login: Mapped[str]
    """How the user logged in: `password`, or `openid`."""
    address: Mapped[str]
    """The client's address at the login."""
    created: Mapped[float] = mapped_column(Double)
    last_used: Mapped[float] = mapped_column(Double)
    ends: Mapped[float] = mapped_column(Double)


@dataclass(frozen=True)
class SessionDescription:
    """What its user may know of a session; times are seconds since 1970 (UTC)."""

    id_hash: str
    login: str
    address: str
    created: float
    last_used: float


def hash_session_id(session_id: str) -> str:
    """The hash of a session's identifier, which has 256 random bits: a plain hash keeps it."""
    return hmac.digest(b"minipacs session", session_id.encode(), "sha256").hex()


def start_session(
    database: Database, user_name: str, *, login: str, address: str, lifetime_s: float = SESSION_S
) -> str:
    """Start a session and return its identifier, which is known to the browser alone; delete sessions that are over."""
    session_id, now = secrets.token_urlsafe(32), database.now()
    row = {"id_hash": hash_session_id(session_id), "user_name": user_name, "login": login, "address": address}
    with database.writing() as session:
        session.execute(delete(LoginSession).where(LoginSession.ends < now))
        insert = database.build_insert(LoginSession)
        session.execute(insert.values(**row, created=now, last_used=now, ends=now + lifetime_s))
    return session_id


def end_session(database: Database, session_id: str) -> None:
    """End a session; one that has ended already stays ended."""
    with database.writing() as session:
        session.execute(delete(LoginSession).where(LoginSession.id_hash == hash_session_id(session_id)))
    wait_for_leases()


def end_sessions(database: Database, user_name: str, *, except_id_hash: str = "") -> int:
    """End every session of a user but one; return how many ended."""
    with database.writing() as session:
        ended = end_sessions_of_user(session, user_name, except_id_hash)
    wait_for_leases()
    return ended


def end_sessions_of_user(session: Session, user_name: str, except_id_hash: str = "") -> int:
    """The same within a transaction of the caller, who waits for leases (`key_lookup`) after its end."""
    ended = delete(LoginSession).where(LoginSession.user_name == user_name, LoginSession.id_hash != except_id_hash)
    return len(session.execute(ended.returning(LoginSession.id_hash)).all())


def list_sessions(database: Database, user_name: str, idle_s: float) -> list[SessionDescription]:
    """List the sessions of a user that can still be used, the one that was used last first."""
    now = database.now()
    living = [LoginSession.user_name == user_name, LoginSession.ends > now]
    if idle_s:
        living.append(LoginSession.last_used > now - idle_s)
    columns = (
        LoginSession.id_hash,
        LoginSession.login,
        LoginSession.address,
        LoginSession.created,
        LoginSession.last_used,
    )
    with database.reading() as session:
        rows = session.execute(select(*columns).where(*living).order_by(LoginSession.last_used.desc()))
        return [SessionDescription(*row) for row in rows]


def delete_ended_sessions(database: Database, idle_s: float) -> None:
    """Delete the rows of sessions that are over."""
    now = database.now()
    is_over = LoginSession.ends < now
    if idle_s:
        is_over = or_(is_over, LoginSession.last_used < now - idle_s)
    with database.writing() as session:
        session.execute(delete(LoginSession).where(is_over))
