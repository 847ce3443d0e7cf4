"""`/metrics` in Prometheus' text format: what there is, what waits, since when."""

import shutil
import time

from flask import Blueprint, Response
from sqlalchemy import func, select

from api.state import state
from minipacs import __version__
from minipacs.catalogue import Rejection, totals
from minipacs.jobs import STATES, Job

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Gauges; the same in every process, because they come from the database."""
    settings = state().settings
    with state().database.reading() as session:
        counts = vars(totals(session))
        states = dict.fromkeys(STATES, 0)
        states |= {row[0]: row[1] for row in session.execute(select(Job.state, func.count()).group_by(Job.state))}
        oldest = session.scalar(select(func.min(Job.created)).where(Job.state == "queued"))
        rejected = session.scalar(select(func.count()).select_from(Rejection)) or 0
    lines = [
        *gauge("minipacs_info", "version of the front door", {f'{{version="{__version__}"}}': 1}),
        *gauge("minipacs_catalogue", "rows of the catalogue", {f'{{level="{k}"}}': v for k, v in counts.items()}),
        *gauge("minipacs_jobs", "jobs by state", {f'{{state="{k}"}}': v for k, v in states.items()}),
        *gauge("minipacs_rejections", "what could not be catalogued or rendered", {"": rejected}),
        *gauge(
            "minipacs_oldest_queued_job_seconds",
            "age of the job that waits longest",
            {"": max(time.time() - oldest, 0) if oldest else 0},
        ),
        *gauge("minipacs_disk_free_bytes", "free below HOME", {"": shutil.disk_usage(settings.home).free}),
    ]
    return Response("\n".join(lines) + "\n", mimetype="text/plain; version=0.0.4")


def gauge(name: str, meaning: str, values: dict[str, float]) -> list[str]:
    """Lines of one metric."""
    return [
        f"# HELP {name} {meaning}",
        f"# TYPE {name} gauge",
        *(f"{name}{labels} {value}" for labels, value in values.items()),
    ]
