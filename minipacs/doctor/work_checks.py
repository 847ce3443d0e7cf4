"""Checks of the work by `minipacs doctor`: the database, the queue, the pool, the change log, notifications."""

import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, make_url, select

from minipacs import migrations
from minipacs.archive.client import Archive
from minipacs.audit.chain import audit_folder
from minipacs.audit.forwarding import find_oldest_unsent
from minipacs.audit.verification import explain, verify_chain
from minipacs.database import Database, database_exists
from minipacs.doctor.finding import Finding, failure, ok, warning
from minipacs.errors import SettingsError
from minipacs.jobs.planner import open_planner_cursor
from minipacs.jobs.pool_security import is_scheduler_encrypted, load_pool_security
from minipacs.jobs.record import Job
from minipacs.notifications.outbox import Notification, Notifier
from minipacs.settings import Settings

MAX_WAIT_S = 600.0
"""A job that could start and waits longer is a warning."""
MAX_UNREAD_CHANGES = 1000
"""More unread entries of the change log are a warning."""
MAX_WAITING_BYTES = 16 * 2**20
"""More audit entries outside of the database are a warning."""
ARCHIVE_TIMEOUT_S = 30.0
"""Longest wait for the archive's answer."""
SCHEDULER_TIMEOUT_S = 10.0
"""Longest wait for a scheduler; Dask waits so long where nobody answers."""


def check_database(settings: Settings) -> Finding:
    """The database answers, and its schema is the one this version knows."""
    url = make_url(settings.database_url)
    where = f"{url.get_backend_name()} {url.host or Path(url.database or '').name}"
    if not database_exists(settings.database_url):
        return warning(f"{where} does not exist yet", "The first start creates it: scripts/up.")

    with closing(Database(settings.database_url)) as database, database.reading() as session:
        schema, newest = migrations.current(session.connection()), migrations.head()

    if schema > newest:
        return failure(f"{where} has schema {schema}, this version knows {newest}", "Update minipacs.")
    if schema < newest:
        seen = f"{where} has schema {schema or 'none'}, {newest} is due"
        return warning(seen, "The next start upgrades it: scripts/up.")
    return ok(f"{where}, schema {schema}")


def check_queue(settings: Settings) -> Finding:
    """Nothing failed, nothing waits for long, no lease is over."""
    if not database_exists(settings.database_url):
        return ok("no jobs yet")

    with closing(Database(settings.database_url)) as database, database.reading() as session:
        if not migrations.current(session.connection()):
            return ok("no jobs yet")
        now = session.scalar(select(database.now())) or 0.0
        by_state = select(Job.state, func.count()).group_by(Job.state)
        due_since = select(func.min(Job.created)).where(Job.state == "queued", Job.not_before <= now)
        expired = select(func.count()).where(Job.state == "running", Job.lease_until < now - settings.lease_s)

        states = {row[0]: row[1] for row in session.execute(by_state)}
        oldest, silent = session.scalar(due_since), session.scalar(expired)

    seen = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no jobs yet"
    if silent:
        return failure(f"{silent} jobs run on workers that fell silent ({seen})", "Start the job service: scripts/up.")
    if oldest is not None and now - oldest > MAX_WAIT_S:
        return warning(f"the oldest waits for {(now - oldest) / 60:.0f} min ({seen})", "Add workers: MINIPACS_WORKERS.")
    if states.get("failed"):
        return warning(seen, "`minipacs jobs list --state failed` says why; `minipacs jobs retry ID` tries again.")
    return ok(seen)


def check_audit(settings: Settings) -> Finding:
    """The audit's chain holds, from where it was verified last; few entries wait outside of the database."""
    if not database_exists(settings.database_url):
        return ok("no entries yet")
    with closing(Database(settings.database_url)) as database:
        with database.reading() as session:
            if migrations.current(session.connection()) < migrations.head():
                return ok("not verified: the database is to be upgraded")
        found = verify_chain(database, settings.home, whole=False)
        oldest_unsent = find_oldest_unsent(database) if settings.audit_syslog else None

    if found.broken is not None:
        return failure(explain(found), found.broken.remedy)
    if oldest_unsent is not None and time.time() - oldest_unsent > MAX_WAIT_S:
        seen = f"entries have waited {(time.time() - oldest_unsent) / 60:.0f} min for {settings.audit_syslog}"
        return warning(seen, "HOME/log/job-service.log says why the receiver does not take them.")
    waiting = sum(file.stat().st_size for file in audit_folder(settings.home).glob("*.jsonl"))
    if waiting > MAX_WAITING_BYTES:
        seen = f"{waiting // 2**20} MB of entries wait in {audit_folder(settings.home)}"
        return warning(seen, "Is the front door running, and the database? See HOME/log/api.log.")
    return ok(explain(found))


def check_notifications(settings: Settings) -> Finding:
    """Notifications are delivered, where the settings name a receiver."""
    with closing(Database(settings.database_url)) as database:
        receivers = Notifier(settings, database).receivers
        if not receivers:
            return ok("no receiver is set: ended jobs are not notified")
        with database.reading() as session:
            if migrations.current(session.connection()) < migrations.head():
                return ok(f"{len(receivers)} receivers")
            undelivered = session.scalar(select(func.count()).where(Notification.error != "")) or 0
            error = session.scalar(select(Notification.error).where(Notification.error != "").limit(1))

    if undelivered:
        seen = f"{undelivered} notifications were not delivered: {error}"
        return warning(seen, "Check MINIPACS_WEBHOOK_URL, MINIPACS_SMTP_URL.")
    return ok(f"{len(receivers)} receivers, nothing undelivered")


def check_change_log(settings: Settings) -> Finding:
    """The planner keeps up with the archive's change log."""
    if not database_exists(settings.database_url):
        return ok("not read yet")

    with closing(Archive(settings, timeout_s=ARCHIVE_TIMEOUT_S)) as archive:
        last = archive.read_last_change_number()
    with closing(Database(settings.database_url)) as database, database.reading() as session:
        if not migrations.current(session.connection()):
            return ok("not read yet")
        read = open_planner_cursor(database).read_in(session)

    if last - read > MAX_UNREAD_CHANGES:
        return warning(f"{last - read} entries are unread", "Is the job service running? See HOME/log/job-service.log.")
    if read > last:
        return failure(
            f"read to {read}, but the archive is at {last}: another archive?",
            "Restore archive and catalogue from the same backup, or remove the catalogue: it is rebuilt.",
        )
    return ok(f"read to {read} of {last}")


def check_scheduler(settings: Settings) -> Finding:
    """The pool: embedded, or a scheduler with workers."""
    if not settings.scheduler:
        return ok(f"embedded pool of {settings.workers} workers")
    from distributed import Client

    try:
        client = Client(
            settings.scheduler,
            security=load_pool_security(settings),
            timeout=SCHEDULER_TIMEOUT_S,
            set_as_default=False,
        )
    except SettingsError as error:
        return failure(error.message, error.hint)
    except (OSError, TimeoutError):
        return failure(f"no Dask scheduler at {settings.scheduler}", "Start it, or correct MINIPACS_SCHEDULER.")
    with closing(client):
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
    if not workers:
        return failure(
            f"{settings.scheduler} has no workers", "Start some: `minipacs worker`, with the same MINIPACS_SCHEDULER."
        )
    seen = f"{settings.scheduler} has {workers} workers"
    if not is_scheduler_encrypted(settings):
        return warning(f"{seen}; whoever reaches it can run code", "Use tls://: `minipacs certificates cluster`.")
    return ok(seen)
