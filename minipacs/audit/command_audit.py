"""Acts at the command line: noted before they are done and at their end, by the user of the operating system."""

import getpass
import os
import time
from collections.abc import Callable

from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from minipacs import migrations
from minipacs.audit.audit_log import AuditLog
from minipacs.audit.command_act import CommandAct
from minipacs.audit.entry import COMMAND, MAX_PATH_CHARACTERS, NewEntry, clean_text
from minipacs.database import Database
from minipacs.settings import Settings

FAILED = 1
"""The exit code of a command that ended with an error."""


def run_audited(settings: Settings, act: CommandAct, run: Callable[[], int]) -> int:
    """Run a command between the entry of its beginning and that of its end; its exit code.

    Raises:
        AuditUnavailable: it cannot be noted, so it is not done.
    """
    entry = make_command_entry(settings, act)
    if act.is_service:
        return _run_service(settings, entry, run)

    database = Database(settings.database_url)
    audit_log = AuditLog(database, settings.home, delivers=False)
    number = audit_log.begin(entry)
    status = FAILED
    try:
        status = run()
    finally:
        audit_log.end(number, replace(entry, at=time.time(), status=status))
        _deliver_if_possible(database, audit_log)
        database.close()
    return status


def note_command(settings: Settings, entry: NewEntry) -> None:
    """Note one thing that a command did, and deliver it where the database can be reached."""
    database = Database(settings.database_url)
    audit_log = AuditLog(database, settings.home, delivers=False)
    audit_log.add(entry)
    _deliver_if_possible(database, audit_log)
    database.close()


def make_command_entry(settings: Settings, act: CommandAct) -> NewEntry:
    """The entry of a command of this user on this machine."""
    return NewEntry(
        at=time.time(),
        user=clean_text(read_user_name()),
        by="command",
        address=settings.host_name,
        action=act.action,
        method=COMMAND,
        path=clean_text(act.text[:MAX_PATH_CHARACTERS]),
        uids=act.uids,
    )


def read_user_name() -> str:
    """The name of the operating system's user; the number of one without a name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _run_service(settings: Settings, entry: NewEntry, run: Callable[[], int]) -> int:
    note_command(settings, replace(entry, action="start"))
    status = FAILED
    try:
        status = run()
    finally:
        note_command(settings, replace(entry, action="stop", at=time.time(), status=status))
    return status


def _deliver_if_possible(database: Database, audit_log: AuditLog) -> None:
    """Deliver what was noted; where the database is of another version, or does not answer, the front door does it."""
    try:
        with database.engine.connect() as connection:
            is_current = migrations.current(connection) == migrations.head()
    except SQLAlchemyError:  # the entries wait on the disk
        is_current = False
    audit_log.close(delivering=is_current)
