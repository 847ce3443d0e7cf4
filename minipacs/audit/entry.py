"""The audit's tables, and an entry before it is written."""

import re

from msgspec import Struct
from sqlalchemy import Double, Text
from sqlalchemy.orm import Mapped, mapped_column

from minipacs.tables import Base

MAX_PATH_CHARACTERS = 500
MAX_QUERY_CHARACTERS = 2000
MAX_NAME_CHARACTERS = 512
"""Of a user, a patient or a study: PostgreSQL's index takes no value of more than about 2700 bytes."""
MAX_NAMED = 1000
"""Studies, and patients, that one entry names; the number of rows stands beside them."""
INTERRUPTED = 0
"""The status of an act that began and whose end is not known: its process was killed."""
COMMAND = "COMMAND"
"""The method of an act at the command line; its status is an exit code."""
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""What a database's text cannot hold."""


class AuditEntry(Base):
    """One act of one user, or the repeats of one look."""

    __tablename__ = "api_audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    """Its place in the chain: there is no gap."""
    at: Mapped[float] = mapped_column(Double, index=True)
    user: Mapped[str] = mapped_column(index=True)
    by: Mapped[str]
    address: Mapped[str]
    action: Mapped[str] = mapped_column(index=True)
    method: Mapped[str]
    path: Mapped[str]
    status: Mapped[int]
    study_instance_uid: Mapped[str | None] = mapped_column(index=True)
    patient_key: Mapped[str | None] = mapped_column(index=True)
    count: Mapped[int] = mapped_column(default=1, server_default="1")
    """How many looks the entry stands for."""
    last_at: Mapped[float | None] = mapped_column(Double)
    """Of several looks: the time of the last."""
    query: Mapped[str] = mapped_column(Text, default="", server_default="")
    """What was searched for."""
    studies: Mapped[str] = mapped_column(Text, default="", server_default="")
    """Study Instance UIDs that were reached, with a space between them."""
    patients: Mapped[str] = mapped_column(Text, default="", server_default="")
    """Patients that were reached, one a line."""
    disclosed: Mapped[int] = mapped_column(default=0, server_default="0")
    """Rows of the answer, those that are not named included."""
    mac: Mapped[str] = mapped_column(default="", server_default="")
    """Keyed hash of this entry and of the one before it (`minipacs.audit.chain`)."""


class AuditChain(Base):
    """The ends of the chain, sealed; one row. A writer holds its lock from reading it to its commit."""

    __tablename__ = "api_audit_chain"
    id: Mapped[int] = mapped_column(primary_key=True)
    first_id: Mapped[int]
    """The oldest entry that is kept."""
    base: Mapped[str]
    """The hash of the entry before it."""
    last_id: Mapped[int]
    last: Mapped[str]
    """The hash of the newest entry."""
    seal: Mapped[str]
    """Keyed hash of the four, and of the fingerprint where there is one."""
    key_fingerprint: Mapped[str] = mapped_column(default="", server_default="")
    """Of the key that the chain is made with: another key is told from an altered entry. Empty: not known yet."""
    sent_id: Mapped[int] = mapped_column(default=0, server_default="0")
    """The newest entry that the syslog receiver has."""


class AuditSpool(Base):
    """How far the spool of a process was read into the audit: in one transaction with the entries made of it."""

    __tablename__ = "api_audit_spool"
    name: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(Text)


class EntryRow(Struct, kw_only=True):
    """A row of `AuditEntry` that is to be written. The chain gives `id` and `mac`."""

    at: float
    last_at: float | None
    count: int
    user: str
    by: str
    address: str
    action: str
    method: str
    path: str
    status: int
    study_instance_uid: str | None
    patient_key: str | None
    query: str
    studies: str
    patients: str
    disclosed: int
    id: int = 0
    mac: str = ""


class NewEntry(Struct, kw_only=True, omit_defaults=True):
    """An entry before it is written. `uids` and `patients`: what was reached, as the request named or answered it."""

    at: float
    user: str
    by: str
    address: str
    action: str
    method: str
    path: str
    status: int = INTERRUPTED
    count: int = 1
    last_at: float | None = None
    query: str = ""
    uids: tuple[str, ...] = ()
    """Study, series and SOP Instance UIDs, and identifiers of renderings."""
    patients: tuple[str, ...] = ()
    disclosed: int = 0
    is_look: bool = False
    """A look, whose repeats within minutes are one entry with their number."""


def clean_text(text: str) -> str:
    """The text without what a database cannot hold (NUL, lone surrogates)."""
    return UNSTORABLE.sub("?", text)
