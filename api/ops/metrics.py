"""`/metrics` in Prometheus' text format: what there is, what waits, since when."""

import shutil
import time

from flask import Blueprint, Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.context import context
from api.web.describe_route import answers, discloses_nothing
from minipacs import __version__
from minipacs.catalogue import Rejection, read_catalogue_counts
from minipacs.jobs.record import STATES, Job
from minipacs.notifications.outbox import Notification

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@discloses_nothing
@answers("text/plain")
def metrics() -> Response:
    """Gauges; the same in every process, because they come from the database."""
    settings = context().settings
    with context().database.reading() as session:
        counts = vars(read_catalogue_counts(session))
        states = dict.fromkeys(STATES, 0)
        states |= {row[0]: row[1] for row in session.execute(select(Job.state, func.count()).group_by(Job.state))}
        oldest = session.scalar(select(func.min(Job.created)).where(Job.state == "queued"))
        rejected = session.scalar(select(func.count()).select_from(Rejection)) or 0
        ended = count_ended_jobs(session, time.time() - 3600)
        durations = summarize_job_durations(session, time.time() - 3600)
        undelivered = session.scalar(select(func.count()).where(Notification.not_before.is_not(None))) or 0
    lines = [
        *format_gauge("minipacs_info", "version of the front door", {f'{{version="{__version__}"}}': 1}),
        *format_gauge(
            "minipacs_catalogue", "rows of the catalogue", {f'{{level="{k}"}}': v for k, v in counts.items()}
        ),
        *format_gauge("minipacs_jobs", "jobs by state", {f'{{state="{k}"}}': v for k, v in states.items()}),
        *format_gauge("minipacs_rejections", "what could not be catalogued or rendered", {"": rejected}),
        *format_gauge(
            "minipacs_oldest_queued_job_seconds",
            "age of the job that waits longest",
            {"": max(time.time() - oldest, 0) if oldest else 0},
        ),
        *format_gauge("minipacs_jobs_ended_last_hour", "jobs that ended in the last hour, by kind and state", ended),
        *format_gauge(
            "minipacs_job_seconds", "of jobs done in the last hour: mean and longest, by kind and stage", durations
        ),
        *format_gauge("minipacs_notifications_waiting", "notifications that nobody has taken yet", {"": undelivered}),
        *format_gauge("minipacs_disk_free_bytes", "free below HOME", {"": shutil.disk_usage(settings.home).free}),
    ]
    return Response("\n".join(lines) + "\n", mimetype="text/plain; version=0.0.4")


def count_ended_jobs(session: Session, since: float) -> dict[str, float]:
    """Counts by kind and state."""
    counted = select(Job.kind, Job.state, func.count()).where(Job.finished >= since).group_by(Job.kind, Job.state)
    return {f'{{kind="{kind}",state="{state}"}}': count for kind, state, count in session.execute(counted)}


def summarize_job_durations(session: Session, since: float) -> dict[str, float]:
    """Mean and longest, in seconds, of waiting, running, and each stage that the jobs tell; the newest 1000 jobs."""
    chosen = select(Job.kind, Job.created, Job.started, Job.finished, Job.result)
    done = chosen.where(Job.state == "done", Job.finished >= since).order_by(Job.finished.desc()).limit(1000)
    found: dict[tuple[str, str], list[float]] = {}
    for kind, created, started, finished, result in session.execute(done):
        stages = (result or {}).get("seconds", {})
        for stage, seconds in {"waiting": started - created, "running": finished - started, **stages}.items():
            found.setdefault((kind, stage), []).append(max(seconds, 0.0))
    lines = {}
    for (kind, stage), seconds in sorted(found.items()):
        label = f'kind="{kind}",stage="{stage}"'
        lines[f'{{{label},of="mean"}}'] = round(sum(seconds) / len(seconds), 3)
        lines[f'{{{label},of="longest"}}'] = round(max(seconds), 3)
    return lines


def format_gauge(name: str, meaning: str, values: dict[str, float]) -> list[str]:
    """Lines of one metric."""
    return [
        f"# HELP {name} {meaning}",
        f"# TYPE {name} gauge",
        *(f"{name}{labels} {value}" for labels, value in values.items()),
    ]
