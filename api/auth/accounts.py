"""Users, their passwords (argon2) and their API tokens (hashed; shown once)."""

import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import Double, ForeignKey, delete, select, true
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.auth.key_lookup import wait_for_leases
from api.auth.roles import ROLES, lesser_role
from api.auth.sessions import end_sessions_of_user
from minipacs.database import Database
from minipacs.errors import BadRequest, NotFound
from minipacs.files import write_private
from minipacs.groups.membership import forget_member
from minipacs.settings import Settings
from minipacs.tables import Base

MAX_NAME_CHARACTERS = 64
MIN_PASSWORD_LENGTH = 8
"""Characters of a password a person chooses."""
ADMINISTRATORS_SEE_ALL = "An administrator sees all studies."
TOKEN_PREFIX = "token:"
"""Of the name of a token as a principal and as a member of groups; no user's name has a colon."""
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
"""OWASP's second choice for argon2id: 19 MiB, 2 passes; about 30 ms."""
HASH_OF_NOBODY = HASHER.hash(secrets.token_urlsafe())
"""Checked for unknown users, so that the time of an answer does not say which users there are."""


class User(Base):
    """A person, or a machine, that may log in."""

    __tablename__ = "api_user"
    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    password_hash: Mapped[str]
    must_change: Mapped[bool] = mapped_column(default=False)
    """The password was chosen by somebody else: it opens nothing but the change to another."""
    openid_subject: Mapped[str | None] = mapped_column(unique=True, index=True)
    """Issuer and subject of a person who logs in by single sign-on; such a user has no password (an empty hash)."""
    created: Mapped[float] = mapped_column(Double)
    sees_all: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether the user sees every study, or those of the user's groups (an administrator sees all)."""


class Token(Base):
    """A secret for scripts (`Authorization: Bearer …`); only its hash is kept."""

    __tablename__ = "api_token"
    name: Mapped[str] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    user_name: Mapped[str | None] = mapped_column(ForeignKey("api_user.name", ondelete="CASCADE"))
    created: Mapped[float] = mapped_column(Double)
    sees_all: Mapped[bool] = mapped_column(default=True, server_default=true())
    """As a user's; a token of a user who is restricted to groups is restricted as the user is."""


class TokenRow(NamedTuple):
    """What a request needs to know of a token; the last four are its user's, and None without one."""

    name: str
    role: str
    sees_all: bool
    user_name: str | None
    user_role: str | None
    must_change: bool | None
    user_sees_all: bool | None


TOKENS_AND_USERS = select(
    *(Token.name, Token.role, Token.sees_all),
    *(User.name, User.role, User.must_change, User.sees_all),
).outerjoin(User, User.name == Token.user_name)
"""The columns of `TokenRow`."""


@dataclass(frozen=True)
class Principal:
    """Who makes a request, and what they may."""

    name: str
    role: str
    by: str
    """The kind of proof: session, token, basic."""
    must_change: bool = False
    """The password is to be changed before anything else."""
    session_id_hash: str = ""
    """Of the session, where the proof is one."""
    restricted_to: str | None = ""
    """The member whose groups' studies are visible to it (the empty name's: none); None where all are."""
    token_name: str = ""
    """Of the token, where the proof is one."""

    @property
    def sees_all(self) -> bool:
        """Whether every study is visible to it."""
        return self.restricted_to is None


def ensure_administrator(database: Database, settings: Settings) -> str | None:
    """Create an administrator where there is none, and return the new password, which is also in first-login.txt.

    `settings.admin_password`, where set, is always the password of `settings.admin_user`: then, and when there
    is an administrator already, None is returned.
    """
    with database.reading() as session:
        user = session.get(User, settings.admin_user)
        any_admin = session.scalar(select(User.name).where(User.role == "admin").limit(1))
    if settings.admin_password:
        if user is None or user.role != "admin" or not is_right_password(user.password_hash, settings.admin_password):
            create_or_change_user(database, settings.admin_user, "admin", settings.admin_password)
        return None
    if any_admin is not None:
        return None

    password = "-".join(secrets.token_hex(3) for _ in range(3))
    create_or_change_user(database, settings.admin_user, "admin", password, must_change=True)
    settings.home.mkdir(parents=True, exist_ok=True)
    write_private(first_login_file(settings), f"{password}\n".encode())
    return password


def first_login_file(settings: Settings) -> Path:
    """The file with the one-time password of the first administrator, until it is changed."""
    return settings.home / "first-login.txt"


def create_or_change_user(
    database: Database, name: str, role: str, password: str, *, must_change: bool = False, sees_all: bool = True
) -> None:
    """Create a user, or change the role and the password of one, whose sessions end."""
    if role not in ROLES:
        raise BadRequest(f"There is no role {role!r}.", f"The roles are {', '.join(ROLES)}.")
    if (
        not 1 <= len(name) <= MAX_NAME_CHARACTERS or ":" in name or not name.isprintable()
    ):  # RFC 7617 2: a user-id has no colon
        raise BadRequest("A user's name has 1 to 64 printable characters and no colon.", "Choose another name.")
    values = {"role": role, "password_hash": HASHER.hash(password), "must_change": must_change}
    if not sees_all:
        values["sees_all"] = False
    with database.writing() as session:
        is_known = session.get(User, name) is not None
        insert = database.build_insert(User).values(name=name, created=database.now(), **values)
        session.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))
        end_sessions_of_user(session, name)
    if is_known:
        wait_for_leases()


def change_password(database: Database, settings: Settings, name: str, password: str) -> None:
    """Change a user's password to one of the user's own choice; all sessions of the user end."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise BadRequest(f"A password has at least {MIN_PASSWORD_LENGTH} characters.", "Choose a longer one.")
    with database.writing() as session:
        user = session.get(User, name)
        if user is None:
            raise NotFound(f"There is no user {name!r}.", "Ask an administrator.")
        user.password_hash, user.must_change = HASHER.hash(password), False
        end_sessions_of_user(session, name)
    wait_for_leases()
    if name == settings.admin_user:
        first_login_file(settings).unlink(missing_ok=True)


def set_role(database: Database, name: str, role: str) -> None:
    """Give a user another role; the user's tokens may do no more than that. The last administrator stays one."""
    if role not in ROLES:
        raise BadRequest(f"There is no role {role!r}.", f"The roles are {', '.join(ROLES)}.")
    with database.writing() as session:
        user = session.get(User, name)
        if user is None:
            raise NotFound(f"There is no user {name!r}.", "GET /users lists them.")
        others = session.scalar(select(User.name).where(User.role == "admin", User.name != name).limit(1))
        if user.role == "admin" and role != "admin" and others is None:
            raise BadRequest("The last administrator stays one.", "Make another administrator first.")
        user.role = role
        for token in session.scalars(select(Token).where(Token.user_name == name)):
            token.role = lesser_role(role, token.role)
    wait_for_leases()


def delete_user(database: Database, name: str) -> None:
    """Delete a user, the user's tokens and sessions. The last administrator stays."""
    with database.writing() as session:
        user = session.get(User, name)
        if user is None:
            raise NotFound(f"There is no user {name!r}.", "GET /users lists them.")
        others = session.scalar(select(User.name).where(User.role == "admin", User.name != name).limit(1))
        if user.role == "admin" and others is None:
            raise BadRequest("The last administrator cannot be removed.", "Make another administrator first.")
        for token in session.scalars(delete(Token).where(Token.user_name == name).returning(Token.name)):
            forget_member(session, make_token_member_name(token))
        end_sessions_of_user(session, name)
        forget_member(session, name)
        session.delete(user)
    wait_for_leases()


def find_restriction_of_user(name: str, role: str, sees_all: bool) -> str | None:
    """The member to whose groups a user is restricted: the user; None where all is visible, as to administrators."""
    return None if sees_all or role == "admin" else name


def find_restriction_of_token(name: str, role: str, sees_all: bool, restriction_of_user: str | None) -> str | None:
    """The same of a token: its user, who is restricted, or the token itself."""
    return restriction_of_user or find_restriction_of_user(make_token_member_name(name), role, sees_all)


def make_user_principal(user: User) -> Principal:
    """What a user may do."""
    restriction = find_restriction_of_user(user.name, user.role, user.sees_all)
    return Principal(user.name, user.role, "name", user.must_change, restricted_to=restriction)


def make_token_principal(found: TokenRow) -> Principal:
    """What a token may do: as its user may now, and no more than the token's own role and groups."""
    if found.user_name is None or found.user_role is None:
        restriction = find_restriction_of_token(found.name, found.role, found.sees_all, None)
        member = make_token_member_name(found.name)
        return Principal(member, found.role, "token", restricted_to=restriction, token_name=found.name)
    role = lesser_role(found.role, found.user_role)
    restriction_of_user = find_restriction_of_user(found.user_name, found.user_role, bool(found.user_sees_all))
    restriction = find_restriction_of_token(found.name, role, found.sees_all, restriction_of_user)
    return Principal(
        found.user_name, role, "token", bool(found.must_change), restricted_to=restriction, token_name=found.name
    )


def find_token_principal(session: Session, name: str) -> Principal | None:
    """What the token of this name may do; None where it was revoked."""
    row = session.execute(TOKENS_AND_USERS.where(Token.name == name)).first()
    return None if row is None else make_token_principal(TokenRow._make(row))


def find_account(session: Session, name: str) -> User | Token | None:
    """The user of this name, or the token where it is `token:` and a token's."""
    if name.startswith(TOKEN_PREFIX):
        return session.get(Token, name.removeprefix(TOKEN_PREFIX))
    return session.get(User, name)


def find_principal(database: Database, name: str) -> Principal | None:
    """Who has this name (a user's, or `token:` and a token's), and what they may; None where they were removed."""
    with database.reading() as session:
        account = find_account(session, name)
        if account is None:
            return None
        return Principal(
            name, account.role, "name", restricted_to=find_restriction_of_user(name, account.role, account.sees_all)
        )


def require_account(database: Database, name: str) -> Principal:
    """Who has this name; raises `NotFound` where nobody has."""
    found = find_principal(database, name)
    if found is None:
        raise NotFound(f"There is no user {name!r}, nor such a token.", "Write `token:NAME` for a token.")
    return found


def set_sees_all(database: Database, name: str, sees_all: bool) -> None:
    """Let a user or a token see all studies, or those of its groups alone."""
    account = require_account(database, name)
    if account.role == "admin" and not sees_all:
        raise BadRequest(ADMINISTRATORS_SEE_ALL, "Give it another role first.")
    with database.writing() as session:
        found = find_account(session, name)
        if found is not None:
            found.sees_all = sees_all
    wait_for_leases()


def is_right_password(password_hash: str, password: str) -> bool:
    """Whether a password has this hash; takes the same time either way."""
    try:
        return HASHER.verify(password_hash, password.encode("utf-8", "surrogatepass"))
    except (VerifyMismatchError, InvalidHashError):
        return False


def create_token(
    database: Database, name: str, role: str, user_name: str | None = None, *, sees_all: bool = True
) -> str:
    """Create a token and return it; afterwards only its hash is known. A name is used once."""
    if role not in ROLES:
        raise BadRequest(f"There is no role {role!r}.", f"The roles are {', '.join(ROLES)}.")
    if role == "admin" and not sees_all:
        raise BadRequest(ADMINISTRATORS_SEE_ALL, "Give it another role.")

    token = "mp_" + secrets.token_urlsafe(32)
    with database.writing() as session:
        insert = database.build_insert(Token).values(
            name=name,
            token_hash=hash_token(token),
            role=role,
            user_name=user_name,
            created=database.now(),
            sees_all=sees_all,
        )
        if session.execute(insert.on_conflict_do_nothing().returning(Token.name)).first() is None:
            raise BadRequest(f"There is a token {name!r} already.", "Revoke it first, or choose another name.")
    return token


def list_tokens(database: Database) -> list[Token]:
    """List every token, without its secret, by name."""
    with database.reading() as session:
        found = list(session.scalars(select(Token).order_by(Token.name)))
        session.expunge_all()
        return found


def revoke_token(database: Database, name: str) -> None:
    """Delete a token; it opens nothing from now on."""
    with database.writing() as session:
        token = session.get(Token, name)
        if token is None:
            raise NotFound(f"There is no token {name!r}.", "`minipacs token list` lists them.")
        forget_member(session, make_token_member_name(name))
        session.delete(token)
    wait_for_leases()


def make_token_member_name(name: str) -> str:
    """The name of a token that belongs to no user: as a principal, and as a member of groups."""
    return f"{TOKEN_PREFIX}{name}"


def hash_token(token: str) -> str:
    """The hash of a token. It has 256 random bits: a plain hash keeps it as well as a slow one would."""
    return hmac.digest(b"minipacs token", token.encode(), "sha256").hex()
