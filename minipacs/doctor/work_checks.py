"""The doctor's look at the database, the queue and the pool."""

from pathlib import Path

from sqlalchemy import func, make_url, select

from minipacs import migrations
from minipacs.archive.client import Archive
from minipacs.database import Database
from minipacs.doctor.finding import Finding, failed, ok, warning
from minipacs.jobs.planner import planner_cursor
from minipacs.jobs.record import Job
from minipacs.notifications.outbox import Notification, Notifier
from minipacs.settings import Settings

LONG_WAIT_S = 600.0
"""A job that could start and waits longer is worth a word."""
LAG = 1000
"""So many unread entries of the change log are worth a word."""
PATIENCE_S = 30.0
"""Longest wait for the archive's answer."""
SCHEDULER_S = 10.0
"""Longest wait for a scheduler; Dask uses it up where nobody answers."""


def check_database(settings: Settings) -> Finding:
    """Answers; its schema is the one this version knows."""
    url = make_url(settings.database_url)
    where = f"{url.get_backend_name()} {url.host or Path(url.database or '').name}"
    if not _exists(settings):
        return warning(f"{where} does not exist yet", "The first start makes it: scripts/up.")
    database = Database(settings.database_url)
    try:
        with database.reading() as session:
            now, newest = migrations.current(session.connection()), migrations.head()
    finally:
        database.close()
    if now > newest:
        return failed(f"{where} has schema {now}, this version knows {newest}", "Update minipacs.")
    if now < newest:
        return warning(
            f"{where} has schema {now or 'none'}, {newest} is due", "The next start upgrades it: scripts/up."
        )
    return ok(f"{where}, schema {now}")


def check_queue(settings: Settings) -> Finding:
    """Nothing failed, nothing waits for long, no lease is over."""
    if not _exists(settings):
        return ok("no jobs yet")
    database = Database(settings.database_url)
    try:
        with database.reading() as session:
            if not migrations.current(session.connection()):
                return ok("no jobs yet")
            states = {row[0]: row[1] for row in session.execute(select(Job.state, func.count()).group_by(Job.state))}
            now = session.scalar(select(database.now())) or 0.0
            ready = select(func.min(Job.created)).where(Job.state == "queued", Job.not_before <= now)
            oldest = session.scalar(ready)
            silent = session.scalar(
                select(func.count()).where(Job.state == "running", Job.lease_until < now - settings.lease_s)
            )
    finally:
        database.close()
    seen = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no jobs yet"
    if silent:
        return failed(f"{silent} jobs run on workers that fell silent ({seen})", "Start the job service: scripts/up.")
    if oldest is not None and now - oldest > LONG_WAIT_S:
        return warning(f"the oldest waits for {(now - oldest) / 60:.0f} min ({seen})", "Add workers: MINIPACS_WORKERS.")
    if states.get("failed"):
        return warning(seen, "`minipacs jobs list --state failed` says why; `minipacs jobs retry ID` tries again.")
    return ok(seen)


def check_notifications(settings: Settings) -> Finding:
    """Who asked to be told can be told."""
    receivers = Notifier(settings, database := Database(settings.database_url)).receivers
    try:
        if not receivers:
            return ok("nobody asked to be told of ended jobs")
        with database.reading() as session:
            if migrations.current(session.connection()) < migrations.head():
                return ok(f"{len(receivers)} receivers")
            stuck = session.scalar(select(func.count()).where(Notification.error != "")) or 0
            why = session.scalar(select(Notification.error).where(Notification.error != "").limit(1))
    finally:
        database.close()
    if stuck:
        return warning(f"{stuck} notifications were not taken: {why}", "Check MINIPACS_WEBHOOK_URL, MINIPACS_SMTP_URL.")
    return ok(f"{len(receivers)} receivers, nothing undelivered")


def check_change_log(settings: Settings) -> Finding:
    """The planner keeps up with the archive's change log."""
    if not _exists(settings):
        return ok("not read yet")
    archive = Archive(settings, timeout_s=PATIENCE_S)
    database = Database(settings.database_url)
    try:
        last = archive.last_change()
        with database.reading() as session:
            if not migrations.current(session.connection()):
                return ok("not read yet")
            read = planner_cursor(database).read_in(session)
    finally:
        archive.close()
        database.close()
    if last - read > LAG:
        return warning(f"{last - read} entries are unread", "Is the job service running? See HOME/log/job-service.log.")
    if read > last:
        return failed(
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
        client = Client(settings.scheduler, timeout=SCHEDULER_S, set_as_default=False)
    except (OSError, TimeoutError):
        return failed(f"no Dask scheduler at {settings.scheduler}", "Start it, or correct MINIPACS_SCHEDULER.")
    try:
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
    finally:
        client.close()
    if not workers:
        return failed(
            f"{settings.scheduler} has no workers", "Start some: `minipacs worker`, with the same MINIPACS_SCHEDULER."
        )
    return ok(f"{settings.scheduler} has {workers} workers")


def _exists(settings: Settings) -> bool:
    """A look must not make a database."""
    url = make_url(settings.database_url)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()
