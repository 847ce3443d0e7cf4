"""The rate limit on passwords: failures are counted in the database, so that all processes know them."""

from sqlalchemy import Double, delete, func, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from minipacs.database import Database
from minipacs.errors import TooManyAttempts
from minipacs.tables import Base

WINDOW_S = 300.0
"""Failures older than this are forgotten."""
MAX_FAILURES_OF_USER = 10
"""Failures for one user name from one address within the window."""
MAX_FAILURES_OF_ADDRESS = 50
"""Failures from one address, whatever the name."""


class LoginFailure(Base):
    """A wrong password."""

    __tablename__ = "api_login_failure"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    address: Mapped[str] = mapped_column(index=True)
    at: Mapped[float] = mapped_column(Double)


def check_failure_limit(database: Database, name: str, address: str) -> None:
    """Raise `TooManyAttempts` when there were too many failures."""
    with database.reading() as session:
        recent = (LoginFailure.address == address, LoginFailure.at > database.now() - WINDOW_S)
        of_address = session.scalar(select(func.count()).where(*recent)) or 0
        of_user = 0
        if of_address:
            of_user = session.scalar(select(func.count()).where(*recent, LoginFailure.name == name)) or 0
    if of_user >= MAX_FAILURES_OF_USER or of_address >= MAX_FAILURES_OF_ADDRESS:
        raise TooManyAttempts("Too many wrong passwords.", f"Wait {WINDOW_S / 60:.0f} minutes, then try again.")


def count_failure(database: Database, name: str, address: str) -> None:
    """Count a failure, and delete those older than the window."""
    with database.writing() as session:
        session.execute(delete(LoginFailure).where(LoginFailure.at < database.now() - WINDOW_S))
        session.execute(database.build_insert(LoginFailure).values(name=name[:64], address=address, at=database.now()))


def forget_failures(database: Database, name: str, address: str) -> None:
    """Delete the user's failures from this address: the password was right."""
    with database.writing() as session:
        session.execute(
            delete(LoginFailure).where(
                or_(LoginFailure.at < database.now() - WINDOW_S, LoginFailure.name == name),
                LoginFailure.address == address,
            )
        )
