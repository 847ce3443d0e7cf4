"""The chain: each entry bears a keyed hash (HMAC-SHA-256) of itself and of the hash before it.

The key stands in HOME/secrets.json, so whoever can write to the database alone can neither change an entry nor
add, remove or move one unseen. Several processes write: the row `AuditChain` is locked from reading it to the
commit, so the chain has the database's order. The head of the chain also stands in HOME/audit/head.json: entries
that are cut off at the end are missed.
"""

import hmac
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypedDict

from msgspec.structs import asdict
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from minipacs.audit.entry import AuditChain, AuditEntry, EntryRow
from minipacs.database import Database
from minipacs.files import lock_file, replace_private
from minipacs.secrets import get_or_create_secret

log = logging.getLogger(__name__)
VERSION = 1
"""Of what is hashed, and in which order."""
TIMES = ("at", "last_at")
REST = (
    "count", "user", "by", "address", "action", "method", "path", "status",
    "study_instance_uid", "patient_key", "query", "studies", "patients", "disclosed",
)  # fmt: skip
HASHED = (*TIMES, *REST)
MICROSECONDS = 1_000_000
ENCODE = json.JSONEncoder(separators=(",", ":")).encode
TAKEN_AT_ONCE = 5000
FINGERPRINT_CHARACTERS = 16


class Head(TypedDict):
    """The newest entry, as it stands outside of the database."""

    last_id: int
    last: str
    seal: str


class Ends(Protocol):
    """The record of the chain's ends: the object, or a row of its table."""

    first_id: Any
    base: Any
    last_id: Any
    last: Any
    seal: Any
    key_fingerprint: Any


def audit_folder(home: Path) -> Path:
    """The folder of what the audit keeps outside of the database."""
    return home / "audit"


def audit_key(home: Path) -> bytes:
    """The key of the chain, generated at the first call."""
    return get_or_create_secret(home, "audit_key").encode()


def hash_entry(key: bytes, before: str, number: int, values: Sequence[Any]) -> str:
    """The keyed hash of an entry, of its values in the order of `HASHED`, given that of the entry before it."""
    at, last_at, *others = values
    last_us = None if last_at is None else round(last_at * MICROSECONDS)
    text = ENCODE([VERSION, before, number, round(at * MICROSECONDS), last_us, *others])
    return hmac.digest(key, text.encode(), "sha256").hex()


def hash_row(key: bytes, before: str, number: int, row: EntryRow) -> str:
    """The same, of a row that is to be written."""
    return hash_entry(key, before, number, [getattr(row, name) for name in HASHED])


def make_key_fingerprint(key: bytes) -> str:
    """What tells one key from another, and betrays none."""
    return hmac.digest(key, b"minipacs audit key", "sha256").hex()[:FINGERPRINT_CHARACTERS]


def seal_ends(key: bytes, ends: Ends) -> str:
    """The seal of the chain's ends; one without a fingerprint is sealed as before there were any."""
    text = f"ends:{ends.first_id}:{ends.base}:{ends.last_id}:{ends.last}"
    if ends.key_fingerprint:
        text += f":{ends.key_fingerprint}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def seal_point(key: bytes, purpose: str, number: int, mac: str) -> str:
    """The seal of one place of the chain, for a file outside of the database."""
    return hmac.digest(key, f"{purpose}:{number}:{mac}".encode(), "sha256").hex()


class Chain:
    """Appends entries to the chain of a database. Any number of processes may have one."""

    def __init__(self, database: Database, home: Path) -> None:
        self._database, self._home = database, home
        self._key = audit_key(home)
        self._fingerprint = make_key_fingerprint(self._key)

    def append(self, session: Session, rows: Sequence[EntryRow]) -> AuditChain:
        """Append rows in the session's transaction; they get `id` and `mac`. Call `keep_head` after the commit."""
        ends = self.lock(session)
        self._log_trouble(session, ends)

        for row in rows:
            row.id = ends.last_id + 1
            row.mac = hash_row(self._key, ends.last, row.id, row)
            ends.last_id, ends.last = row.id, row.mac
        if rows:
            session.execute(self._database.build_insert(AuditEntry), [asdict(row) for row in rows])
        self._seal(ends)
        session.flush()
        return ends

    def lock(self, session: Session) -> AuditChain:
        """The ends of the chain, locked until the transaction ends; the first call takes older entries in."""
        locked = (
            select(AuditChain).where(AuditChain.id == 1).with_for_update().execution_options(populate_existing=True)
        )
        ends = session.scalar(locked)
        if ends is None:
            new = self._database.build_insert(AuditChain).values(
                id=1, first_id=1, base="", last_id=0, last="", seal="", sent_id=0, key_fingerprint=self._fingerprint
            )
            session.execute(new.on_conflict_do_nothing())
            ends = session.scalars(locked).one()
            if not ends.seal:
                self._take_older_entries(session, ends)
                self._seal(ends)
        return ends

    def move_base(self, session: Session, first_id: int, base: str) -> None:
        """Begin the chain at another entry: those before it are no longer kept."""
        ends = self.lock(session)
        self._log_trouble(session, ends)  # before it is sealed anew
        ends.first_id, ends.base = first_id, base
        self._seal(ends)

    def keep_head(self, last_id: int, last: str) -> None:
        """Write the head of the chain beside the database, unless a newer one stands there."""
        with lock_folder(self._home):
            known = read_head(self._home)
            if known is not None and known["last_id"] >= last_id:
                return
            head: Head = {"last_id": last_id, "last": last, "seal": seal_point(self._key, "head", last_id, last)}
            with replace_private(head_file(self._home)) as stream:
                stream.write(json.dumps(head).encode())

    def _seal(self, ends: AuditChain) -> None:
        ends.seal = seal_ends(self._key, ends)

    def _take_older_entries(self, session: Session, ends: AuditChain) -> None:
        """Chain the entries of before there was a chain, as they are found now. Their numbers may have gaps."""
        older = select(AuditEntry.id, *(getattr(AuditEntry, name) for name in HASHED)).order_by(AuditEntry.id)
        after = 0
        while found := session.execute(older.where(AuditEntry.id > after).limit(TAKEN_AT_ONCE)).all():
            changes = []
            for after, *values in found:
                if not ends.last_id:
                    ends.first_id = after
                ends.last = hash_entry(self._key, ends.last, after, values)
                ends.last_id = after
                changes.append({"id": after, "mac": ends.last})
            session.execute(update(AuditEntry), changes)

    def _log_trouble(self, session: Session, ends: AuditChain) -> None:
        for trouble in self._find_trouble(session, ends):
            log.error("the audit's chain is broken: %s; `minipacs audit verify` says where", trouble)

    def _find_trouble(self, session: Session, ends: AuditChain) -> list[str]:
        """What does not fit before anything is appended. A head that does not fit is kept aside, as evidence."""
        found = []
        head = read_head(self._home)
        if has_another_key(self._key, ends, head):
            if not is_seal_right(self._key, ends):  # else it was found before
                found.append(f"its key is another than that of {ends.key_fingerprint}: {self._fingerprint}")
        else:
            if not is_seal_right(self._key, ends):
                found.append("its ends were changed")
            ends.key_fingerprint = self._fingerprint
        if head is None or head["last_id"] < ends.first_id:
            pass
        elif head["last_id"] > ends.last_id:
            found.append(f"entries after {ends.last_id} are missing")
        elif head["last"] != session.scalar(select(AuditEntry.mac).where(AuditEntry.id == head["last_id"])):
            found.append(f"entry {head['last_id']} is another")
        newest = session.execute(select(AuditEntry.id, AuditEntry.mac).order_by(AuditEntry.id.desc()).limit(1)).first()
        if newest is not None and newest.id > ends.last_id:
            found.append(f"there are entries after its end, {ends.last_id}")
            ends.last_id, ends.last = newest.id, newest.mac
        if found:
            self._put_head_aside(head, found)
        return found

    def _put_head_aside(self, head: Head | None, found: list[str]) -> None:
        with lock_folder(self._home):
            evidence = audit_folder(self._home) / f"broken-{time.time_ns()}.json"
            with replace_private(evidence) as stream:
                stream.write(json.dumps({"found": found, "head": head, "at": time.time()}).encode())
            head_file(self._home).unlink(missing_ok=True)


def head_file(home: Path) -> Path:
    """The head of the chain, outside of the database."""
    return audit_folder(home) / "head.json"


def is_seal_right(key: bytes, ends: Ends) -> bool:
    """Whether the record of the ends was sealed by this key as it stands."""
    return hmac.compare_digest(ends.seal, seal_ends(key, ends))


def has_another_key(key: bytes, ends: Ends, head: Head | None) -> bool:
    """Whether the chain was made with another key than this one.

    A fingerprint that somebody wrote who has the database alone is no proof of it: the head beside the database was
    then sealed by this key, and the record of the ends was not.
    """
    if ends.key_fingerprint in ("", make_key_fingerprint(key)):
        return False
    return is_seal_right(key, ends) or head is None or not is_head_right(key, head)


def is_head_right(key: bytes, head: Head) -> bool:
    """Whether the head beside the database was sealed by this key as it stands."""
    return hmac.compare_digest(head["seal"], seal_point(key, "head", head["last_id"], head["last"]))


def list_evidence(home: Path) -> list[Path]:
    """Files that say that the chain did not fit when something was appended."""
    return sorted(audit_folder(home).glob("broken-*.json"))


def read_head(home: Path) -> Head | None:
    """The head outside of the database; None where there is none, or one that cannot be read."""
    try:
        head = json.loads(head_file(home).read_text("utf-8"))
        return Head(last_id=int(head["last_id"]), last=str(head["last"]), seal=str(head["seal"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextmanager
def lock_folder(home: Path) -> Iterator[None]:
    """Hold the lock of the folder of head and evidence."""
    with lock_file(audit_folder(home) / "head.lock"):
        yield
