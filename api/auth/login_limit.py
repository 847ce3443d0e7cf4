"""The limit on passwords: an attempt is counted before the password is looked at, and forgotten if it was right.

The count and its limit are one transaction, so that guesses sent at the same moment count as those sent one by one.
They are counted for a name *and* a client, never for a name alone: nobody is locked out by what others try elsewhere.
A client is a browser that this user has logged in with before (`device cookie`), else an address: a person is let in
from a browser of one's own even where somebody guesses from the same address.
"""

import ipaddress
from zlib import crc32

from sqlalchemy import Double, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from minipacs.database import Database
from minipacs.errors import TooManyAttempts
from minipacs.tables import Base

WINDOW_S = 300.0
"""Attempts older than this are forgotten."""
MAX_FAILURES_OF_USER = 10
"""Attempts for one user name by one client within the window."""
MAX_FAILURES_OF_ADDRESS = 50
"""Attempts from one address, whatever the name; a browser that is known does not count as its address."""
MAX_FAILURES_OF_NAME = 100
"""Attempts for one name from everywhere, after which each address that is new to it has `MAX_WHEN_ATTACKED`."""
MAX_WHEN_ATTACKED = 2
IPV6_PREFIX = 64
"""Bits of an IPv6 address that stand for one client: it chooses the rest itself (RFC 4291 2.5.1)."""
LOCK_OF_ATTEMPTS = 0x6C6F6700
"""PostgreSQL's advisory lock for the attempts of one address, with a hash of the address."""


class LoginFailure(Base):
    """An attempt to log in that was not right, or is not known to be."""

    __tablename__ = "api_login_failure"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    address: Mapped[str] = mapped_column(index=True)
    at: Mapped[float] = mapped_column(Double)


def make_client_key(address: str, device: str = "") -> str:
    """What attempts are counted for: the known browser, else the address (of IPv6 its network)."""
    if device:
        return f"browser:{device}"
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))


def count_attempt(database: Database, name: str, client: str) -> None:
    """Count an attempt, or raise `TooManyAttempts`; older ones than the window are deleted."""
    name = name[:64]
    with database.reading() as session:  # a flood of refused guesses writes nothing
        _check_limits(database, session, name, client)
    with database.writing() as session:
        if database.is_postgresql:  # SQLite has one writer at a time
            session.execute(select(func.pg_advisory_xact_lock(LOCK_OF_ATTEMPTS, crc32(client.encode()) >> 1)))
        session.execute(delete(LoginFailure).where(LoginFailure.at < database.now() - WINDOW_S))
        _check_limits(database, session, name, client)
        session.execute(database.build_insert(LoginFailure).values(name=name, address=client, at=database.now()))


def forget_attempts(database: Database, name: str, client: str) -> None:
    """Delete the attempts for a name by a client: the password was right."""
    with database.writing() as session:
        session.execute(delete(LoginFailure).where(LoginFailure.name == name[:64], LoginFailure.address == client))


def _check_limits(database: Database, session: Session, name: str, client: str) -> None:
    recent = LoginFailure.at > database.now() - WINDOW_S

    def count(*conditions: object) -> int:
        return session.scalar(select(func.count()).select_from(LoginFailure).where(recent, *conditions)) or 0  # type: ignore[arg-type]

    of_client = count(LoginFailure.address == client)
    of_both = count(LoginFailure.address == client, LoginFailure.name == name) if of_client else 0
    is_address = not client.startswith("browser:")
    is_attacked = (
        is_address and of_both >= MAX_WHEN_ATTACKED and count(LoginFailure.name == name) >= MAX_FAILURES_OF_NAME
    )
    if of_both >= MAX_FAILURES_OF_USER or of_client >= MAX_FAILURES_OF_ADDRESS or is_attacked:
        raise TooManyAttempts("Too many wrong passwords.", f"Wait {WINDOW_S / 60:.0f} minutes, then try again.")
