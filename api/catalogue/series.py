"""Series: what they are, what they hold."""

from flask import Blueprint
from sqlalchemy import select

from api.catalogue import instances, lookups
from api.catalogue.answer_types import InstancePage, SeriesDetails, SeriesPage, SeriesTotal
from api.context import context
from api.web import paging
from api.web.describe_route import QueryParameters, answers, discloses_nothing, takes_query
from api.web.paging import (
    PageParameters,
    apply_filters,
    make_filter_parameters,
    one_or_404,
    read_given_filters,
    read_page,
)
from api.web.row_json import JsonRow
from minipacs.catalogue import Instance, Series, Study, lookup

blueprint = Blueprint("series", __name__)
FILTERS = {
    "Modality": paging.equals(Series.modality),
    "modality": paging.equals(Series.modality),
    "StudyInstanceUID": paging.equals(Series.study_instance_uid),
    "SeriesDescription": paging.equals(Series.series_description),
    "BodyPartExamined": paging.equals(Series.body_part_examined),
    "Manufacturer": paging.equals(Series.manufacturer),
    "PatientID": lambda text: Series.study_key.in_(select(Study.study_key).where(Study.patient_key == text)),
}
LIST = "/series"
ORDER = [(Series.series_instance_uid, False), (Series.series_key, False)]
SeriesFilters = make_filter_parameters("SeriesFilters", FILTERS, QueryParameters)
SeriesParameters = make_filter_parameters("SeriesParameters", FILTERS, PageParameters)


@blueprint.get("/series")
@takes_query(SeriesParameters)
@answers(SeriesPage)
def all_series(query: PageParameters) -> JsonRow:
    """Series, a page at a time."""
    chosen = apply_filters(select(Series), FILTERS, read_given_filters(query))

    with context().database.reading() as session:
        return read_page(session, chosen, ORDER, "series", query)


@blueprint.get("/series/count")
@discloses_nothing
@answers(SeriesTotal)
def series_count() -> JsonRow:
    """How many series there are."""
    return lookups.find_total(context(), "series") or {}


@blueprint.get("/series/<series_instance_uid>")
@answers(SeriesDetails)
def series(series_instance_uid: str) -> JsonRow:
    """A series, by its UID, with its study's patient."""
    return one_or_404(lookups.find_series(context(), series_instance_uid), "series", series_instance_uid, LIST)


@blueprint.get("/series/<series_instance_uid>/images")
@takes_query(instances.InstanceParameters)
@answers(InstancePage)
def images_of_series(query: PageParameters, series_instance_uid: str) -> JsonRow:
    """The instances of a series, a page at a time."""
    with context().database.reading() as session:
        found = one_or_404(lookup.find_series(session, series_instance_uid), "series", series_instance_uid, LIST)
        of_series = select(Instance).where(Instance.series_key == found.series_key)

        chosen = apply_filters(of_series, instances.FILTERS, read_given_filters(query))
        return read_page(session, chosen, instances.ORDER, "images", query)
