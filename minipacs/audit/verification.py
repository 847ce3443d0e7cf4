"""Verify the chain: the first entry that was altered, removed, inserted or moved, and what was cut off at the end.

What it cannot see: that whoever has both the database and HOME/secrets.json made the chain anew. Against that,
entries are sent on to a machine of others (`minipacs.audit.forwarding`).
"""

import hmac
import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, select

from minipacs.audit.chain import (
    HASHED,
    audit_folder,
    has_another_key,
    hash_entry,
    is_head_right,
    is_seal_right,
    list_evidence,
    lock_folder,
    make_key_fingerprint,
    read_head,
    seal_point,
)
from minipacs.audit.entry import AuditChain, AuditEntry
from minipacs.database import Database
from minipacs.errors import CatalogueUnavailable
from minipacs.files import replace_private
from minipacs.secrets import read_secret

READ_AT_ONCE = 10_000
PUT_KEY_BACK = (
    "Put HOME/secrets.json of a backup back, and find out who changed it. What another key made stays unproven: "
    "docs/security.md, The audit: the chain."
)


@dataclass(frozen=True)
class Break:
    """Where the chain does not hold, and how."""

    entry: int
    """The number of the first entry that does not fit; 0: no entry, but what stands beside them."""
    what: str
    remedy: str = "Find out who could write to the database: docs/security.md, The audit: the chain."


@dataclass(frozen=True)
class Verification:
    """What was verified."""

    entries: int
    """How many entries were read."""
    first: int
    last: int
    broken: Break | None = None


@dataclass(frozen=True)
class VerifiedPoint:
    """Up to where the chain was verified before: kept beside the database, sealed."""

    entry: int
    mac: str
    entries: int
    """How many entries there were up to it."""
    first: int
    """The oldest of them."""


def verify_chain(database: Database, home: Path, *, whole: bool = True) -> Verification:
    """Verify the chain; `whole` false: from where the last verification ended, and that no older entry is missing."""
    text = read_secret(home, "audit_key")
    with closing(_open_snapshot(database)) as connection:
        ends = connection.execute(select(AuditChain.__table__).where(AuditChain.id == 1)).first()
        if ends is None:
            return _verify_without_chain(connection, home)
        if not text:
            missing = Break(0, "its key is not in HOME/secrets.json", PUT_KEY_BACK)
            return Verification(0, ends.first_id, ends.last_id, missing)

        key = text.encode()
        if has_another_key(key, ends, read_head(home)):
            what = (
                f"its key was changed or lost: the chain was made with that of fingerprint {ends.key_fingerprint}, "
                f"HOME/secrets.json has that of {make_key_fingerprint(key)}; entries cannot be verified"
            )
            return Verification(0, ends.first_id, ends.last_id, Break(0, what, PUT_KEY_BACK))
        point = None if whole else _read_point(home, key)
        found = _verify_entries(connection, key, ends, point)
        if found.broken is None:
            found = _verify_head(connection, home, key, ends, found)
        if found.broken is None:
            count = _count_entries(connection, ends.last_id)
            _keep_point(home, key, VerifiedPoint(ends.last_id, ends.last, count, ends.first_id))
    return found


def _open_snapshot(database: Database) -> Connection:
    """A connection that sees one moment of the database."""
    if database.is_postgresql:
        return database.engine.connect().execution_options(isolation_level="REPEATABLE READ")
    return database.engine.connect()


def _verify_without_chain(connection: Connection, home: Path) -> Verification:
    """Before the first entry there is no chain, and no head of one."""
    if read_head(home) is not None:
        return Verification(0, 0, 0, Break(0, "the chain is gone, and its head stands in HOME/audit"))
    return Verification(0, 0, 0)


def _verify_entries(connection: Connection, key: bytes, ends: Row[Any], point: VerifiedPoint | None) -> Verification:
    """Verify entry after entry; from `point` on where that still holds."""
    if not is_seal_right(key, ends):
        return Verification(0, ends.first_id, ends.last_id, Break(0, "the record of its two ends was changed"))

    before, number = ends.base, ends.first_id - 1
    if point is not None and point.first == ends.first_id:
        if _count_entries(connection, point.entry) != point.entries:
            return _verify_entries(connection, key, ends, None)
        before, number = point.mac, point.entry

    columns = [AuditEntry.id, AuditEntry.mac, *(getattr(AuditEntry, name) for name in HASHED)]
    statement = select(*columns).where(AuditEntry.id > number).order_by(AuditEntry.id)
    with closing(connection.execution_options(yield_per=READ_AT_ONCE).execute(statement)) as rows:
        read, broken = _find_break(rows, key, before, number, ends.last_id)
    return Verification(read, ends.first_id, ends.last_id, broken)


def _find_break(rows: Iterable[Any], key: bytes, before: str, number: int, last_id: int) -> tuple[int, Break | None]:
    """How many entries were read after that of this number and hash, and the first that does not fit."""
    read = 0
    for row in rows:
        found, mac, values = row[0], row[1], tuple(row)[2:]
        read += 1
        if found > last_id:
            return read, Break(found, "it was inserted after the end")
        if not hmac.compare_digest(mac, hash_entry(key, before, found, values)):
            if found != number + 1:
                return read, Break(number + 1, f"entries after {number} were removed")
            return read, Break(found, "it was altered, inserted or moved")
        before, number = mac, found

    if number < last_id:
        return read, Break(number + 1, f"entries {number + 1} to {last_id} were cut off")
    return read, None


def _verify_head(connection: Connection, home: Path, key: bytes, ends: Row[Any], found: Verification) -> Verification:
    """The head beside the database is of this chain, and nothing did not fit since."""
    for evidence in list_evidence(home):
        what = f"it did not fit when something was appended; {evidence} says what, remove it once that is explained"
        return Verification(found.entries, found.first, found.last, Break(0, what))

    head = read_head(home)
    if head is None or head["last_id"] < ends.first_id:
        return found
    if not is_head_right(key, head):
        return Verification(found.entries, found.first, found.last, Break(0, "HOME/audit/head.json was changed"))
    if head["last_id"] > ends.last_id:
        what = f"entries {ends.last_id + 1} to {head['last_id']} were cut off, with the record of the ends"
        return Verification(found.entries, found.first, found.last, Break(ends.last_id + 1, what))
    mac = connection.scalar(select(AuditEntry.mac).where(AuditEntry.id == head["last_id"]))
    if mac != head["last"]:
        return Verification(found.entries, found.first, found.last, Break(head["last_id"], "it is another than it was"))
    return found


def _count_entries(connection: Connection, up_to: int) -> int:
    return connection.scalar(select(func.count()).select_from(AuditEntry).where(AuditEntry.id <= up_to)) or 0


def _point_file(home: Path) -> Path:
    return audit_folder(home) / "verified.json"


def _seal_of_point(key: bytes, point: VerifiedPoint) -> str:
    return seal_point(key, f"verified:{point.entries}:{point.first}", point.entry, point.mac)


def _read_point(home: Path, key: bytes) -> VerifiedPoint | None:
    """Where the last verification ended; None where it is not known, or was not written by us."""
    try:
        known = json.loads(_point_file(home).read_text("utf-8"))
        point = VerifiedPoint(known["entry"], known["mac"], known["entries"], known["first"])
        return point if hmac.compare_digest(str(known["seal"]), _seal_of_point(key, point)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep_point(home: Path, key: bytes, point: VerifiedPoint) -> None:
    """Write where this verification ended; a folder that cannot be written only makes the next one longer."""
    try:
        with lock_folder(home), replace_private(_point_file(home)) as stream:
            stream.write(json.dumps({**vars(point), "seal": _seal_of_point(key, point)}).encode())
    except OSError:
        return


def explain(found: Verification) -> str:
    """The outcome as a sentence, without its full stop."""
    if found.broken is None:
        return f"{found.entries} entries verified, {found.first} to {found.last}" if found.last else "no entries yet"
    place = f"broken at entry {found.broken.entry}" if found.broken.entry else "broken"
    return f"{place}: {found.broken.what}"


def check_schema(database: Database) -> None:
    """Raise `CatalogueUnavailable` where the database has no chain yet."""
    from minipacs import migrations

    with database.reading() as session:
        if migrations.current(session.connection()) != migrations.head():
            raise CatalogueUnavailable("The database is of another version.", "Start minipacs once: it is upgraded.")
