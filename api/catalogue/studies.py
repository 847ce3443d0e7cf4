"""Studies: the list, one study with its series, as JSON for scripts and as pages for people."""

from flask import Blueprint
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from api.catalogue import instances, lookups, series
from api.catalogue.answer_types import (
    InstancePage,
    SegmentOfStudy,
    SeriesRow,
    StudyDetails,
    StudyPage,
    StudyTotal,
)
from api.catalogue.study_filters import FILTERS, ORDER
from api.catalogue.study_overview import find_series_pictures, read_study_overview
from api.context import context
from api.web.describe_route import QueryParameters, answers, discloses_nothing, takes_query
from api.web.paging import (
    PageParameters,
    apply_filters,
    make_filter_parameters,
    one_or_404,
    read_given_filters,
    read_page,
)
from api.web.responses import render_page, send_json_or_page, wants_page
from api.web.row_json import JsonRow, row_as_json
from api.work.job_json import job_json
from minipacs.catalogue import Instance, Segment, SegmentationResult, Series, Study, lookup
from minipacs.jobs.record import Job

blueprint = Blueprint("studies", __name__)
StudyFilters = make_filter_parameters("StudyFilters", FILTERS, QueryParameters)
StudyParameters = make_filter_parameters("StudyParameters", FILTERS, PageParameters)
LIST = "/studies"


@blueprint.get("/studies")
@takes_query(StudyParameters)
@answers(StudyPage, page="studies.html")
def studies(query: PageParameters) -> ResponseReturnValue:
    """Studies, the newest first, a page at a time."""
    given = read_given_filters(query)
    if wants_page():
        return render_page(read_study_overview(query, {name: text for name, text in given.items() if text}))

    with context().database.reading() as session:
        return read_page(session, apply_filters(select(Study), FILTERS, given), ORDER, "studies", query)


@blueprint.get("/studies/count")
@discloses_nothing
@answers(StudyTotal)
def study_count() -> JsonRow:
    """How many studies there are."""
    return lookups.find_total(context(), "studies") or {}


@blueprint.get("/studies/<study_instance_uid>")
@answers(StudyDetails, page="study.html")
def study(study_instance_uid: str) -> ResponseReturnValue:
    """A study, by its UID, with its series and results."""
    found = one_or_404(lookups.find_study(context(), study_instance_uid), "study", study_instance_uid, LIST)

    def read_page_values() -> JsonRow:
        with context().database.reading() as session:
            jobs = select(Job).where(Job.study_instance_uid == study_instance_uid).order_by(Job.id)
            latest = {job.kind: job_json(job) for job in session.scalars(jobs)}
            meant = lookup.find_study(session, study_instance_uid)
            pictures = find_series_pictures(session, meant.study_key) if meant else {}
        return {"study": found, "jobs": latest.values(), "pictures": pictures}

    return send_json_or_page(found, read_page_values)


@blueprint.get("/studies/<study_instance_uid>/series")
@takes_query(series.SeriesFilters)
@answers(list[SeriesRow])
def series_of_study(query: QueryParameters, study_instance_uid: str) -> list[JsonRow]:
    """The series of a study, by number."""
    with context().database.reading() as session:
        study = one_or_404(lookup.find_study(session, study_instance_uid), "study", study_instance_uid, LIST)
        of_study = select(Series).where(Series.study_key == study.study_key)
        chosen = apply_filters(of_study, series.FILTERS, read_given_filters(query))

        ordered = chosen.order_by(Series.series_number, Series.series_instance_uid)
        return [row_as_json(one) for one in session.scalars(ordered)]


@blueprint.get("/studies/<study_instance_uid>/images")
@takes_query(instances.InstanceParameters)
@answers(InstancePage)
def images_of_study(query: PageParameters, study_instance_uid: str) -> JsonRow:
    """The instances of a study, a page at a time."""
    with context().database.reading() as session:
        study = one_or_404(lookup.find_study(session, study_instance_uid), "study", study_instance_uid, LIST)
        joined = select(Instance).join(Series, Series.series_key == Instance.series_key)
        of_study = joined.where(Series.study_key == study.study_key)

        chosen = apply_filters(of_study, instances.FILTERS, read_given_filters(query))
        return read_page(session, chosen, instances.ORDER, "images", query)


@blueprint.get("/studies/<study_instance_uid>/segments")
@answers(list[SegmentOfStudy])
def segments_of_study(study_instance_uid: str) -> list[JsonRow]:
    """Every segment of every SEG of a study, with its volume.

    `superseded_by`: the SEG series that took this one's place, because its source changed; else null.
    """
    with context().database.reading() as session:
        study = one_or_404(lookup.find_study(session, study_instance_uid), "study", study_instance_uid, LIST)
        segments = (
            select(Segment, Instance.series_instance_uid, SegmentationResult.superseded_by)
            .join(Instance, Instance.instance_key == Segment.instance_key)
            .outerjoin(SegmentationResult, SegmentationResult.seg_series_instance_uid == Instance.series_instance_uid)
            .join(Series, Series.series_key == Instance.series_key)
            .where(Series.study_key == study.study_key)
            .order_by(Segment.sop_instance_uid, Segment.segment_number)
        )
        rows = session.execute(segments)
        return [{**row_as_json(s), "SeriesInstanceUID": uid, "superseded_by": newer} for s, uid, newer in rows]
