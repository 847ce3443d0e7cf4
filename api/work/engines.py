"""Segmentation engines: which there are, and asking one to segment a study."""

from typing import Any, cast

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from api.auth.roles import requires
from api.context import context
from api.web.responses import wants_page
from api.work.jobs import told
from minipacs.errors import BadRequest
from minipacs.jobs.contract import Asked, works
from minipacs.jobs.record import Job, Jobs

blueprint = Blueprint("engines", __name__)


@blueprint.get("/engines")
def engines() -> ResponseReturnValue:
    """Every engine: available, or why not and what to do; `automatic` is the one for new studies."""
    settings = context().settings
    answer = {"engines": _segmentation().engines(settings), "automatic": settings.automatic_engine or None}
    return render_template("engines.html", **answer) if wants_page() else answer


@blueprint.post("/studies/<study_instance_uid>/segment")
@requires("annotator")
def segment(study_instance_uid: str) -> tuple[dict[str, Any], int]:
    """Segment a study by `{"engine"}` (by default the automatic one). The same work is the same job, queued again."""
    body = request.get_json(silent=True) or {}
    engine = (body.get("engine") if isinstance(body, dict) else None) or context().settings.automatic_engine
    if not isinstance(engine, str) or not engine:
        raise BadRequest("No engine is named.", 'Send {"engine": "…"}; GET /engines lists them.')
    study = context().archive.study(context().archive.study_id(study_instance_uid))
    order = _segmentation().asked(study, context().settings, engine)
    jobs = Jobs(context().database, lease_s=context().settings.lease_s, attempts=context().settings.attempts)
    with context().database.writing() as session:
        fresh = jobs.submit(session, order)
        job_id = session.scalars(select(Job.id).where(Job.key == order.key)).one()
    if not fresh:
        jobs.retry(job_id)
    return told(jobs.get(job_id)), 202


def _segmentation() -> Asked:
    return cast(Asked, works()["segment"])
