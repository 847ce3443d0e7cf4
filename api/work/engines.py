"""Segmentation engines: which there are, and asking one to segment a study."""

from typing import TypedDict

from flask import Blueprint
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from api.auth.access import requires_role
from api.context import context
from api.web.describe_route import BodyFields, answers, audits, discloses_nothing, takes_body
from api.web.responses import send_json_or_page
from api.work.job_json import JobJson, job_json
from api.work.jobs import job_queue
from api.work.segmentation_work import EngineJson, list_engines, segmentation_work
from minipacs.errors import BadRequest
from minipacs.jobs.record import Job

blueprint = Blueprint("engines", __name__)


class EngineList(TypedDict):
    """The engines; `automatic` is the one for new studies."""

    engines: list[EngineJson]
    automatic: str | None


class SegmentRequest(BodyFields):
    """Which engine; the automatic one where none is named."""

    engine: str | None = None
    """A name that GET /engines lists; null for the automatic one."""


@blueprint.get("/engines")
@discloses_nothing
@answers(EngineList, page="engines.html")
def engines() -> ResponseReturnValue:
    """Every engine: available, or why not and what to do; `automatic` is the one for new studies."""
    automatic = context().settings.automatic_engine or None
    return send_json_or_page(EngineList(engines=list_engines(), automatic=automatic))


@blueprint.post("/studies/<study_instance_uid>/segment")
@requires_role("annotator")
@audits("segment")
@takes_body(SegmentRequest)
@answers(JobJson)
def segment_study(body: SegmentRequest, study_instance_uid: str) -> tuple[JobJson, int]:
    """Segment a study by `{"engine"}` (by default the automatic one). The same work is the same job, queued again."""
    engine = body.engine or context().settings.automatic_engine
    if not engine:
        raise BadRequest("No engine is named.", 'Send {"engine": "…"}; GET /engines lists them.')

    archive, jobs = context().archive, job_queue()
    study = archive.read_study(archive.find_study_id(study_instance_uid))
    order = segmentation_work().create_order(study, context().settings, engine)

    with context().database.writing() as session:
        is_new = jobs.submit(session, order)
        job_id = session.scalars(select(Job.id).where(Job.key == order.key)).one()
    if not is_new:
        jobs.retry(job_id)
    return job_json(jobs.get(job_id)), 202
