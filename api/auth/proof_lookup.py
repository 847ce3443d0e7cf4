"""Reads what a proof (token, session, user's name) stands for, for every request.

A revoked token, an ended session, another role count everywhere as soon as they are confirmed (`key_lookup`).
"""

from typing import NamedTuple

from sqlalchemy import select

from api.auth.accounts import TOKENS_AND_USERS, Token, TokenRow, User
from api.auth.key_lookup import KEY, LookupConnection
from api.auth.sessions import LoginSession
from minipacs.database import Database


class UserRow(NamedTuple):
    """What a request needs to know of a user."""

    name: str
    role: str
    must_change: bool
    password_hash: str
    sees_all: bool


class SessionRow(NamedTuple):
    """What a request needs to know of a session; times are seconds since 1970 (UTC), by the database's clock."""

    user_name: str
    role: str
    must_change: bool
    sees_all: bool
    last_used: float
    ends: float
    now: float


class ProofLookup:
    """The three look-ups. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._connection = LookupConnection(database)
        self._find_user = self._connection.prepare(
            select(User.name, User.role, User.must_change, User.password_hash, User.sees_all).where(User.name == KEY)
        )
        self._find_token = self._connection.prepare(TOKENS_AND_USERS.where(Token.token_hash == KEY))
        self._find_session = self._connection.prepare(
            select(
                *(User.name, User.role, User.must_change, User.sees_all),
                *(LoginSession.last_used, LoginSession.ends, database.now()),
            )
            .join(User, User.name == LoginSession.user_name)
            .where(LoginSession.id_hash == KEY)
        )

    def find_user(self, name: str) -> UserRow | None:
        """The user of this name."""
        row = self._find_user(name)
        return None if row is None else UserRow(*row)

    def find_token(self, token_hash: str) -> TokenRow | None:
        """The token with this hash."""
        row = self._find_token(token_hash)
        return None if row is None else TokenRow(*row)

    def find_session(self, id_hash: str) -> SessionRow | None:
        """The session whose identifier has this hash; it may have ended by its times."""
        row = self._find_session(id_hash)
        return None if row is None else SessionRow(*row)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
