"""What could not be catalogued or rendered, and why."""

from flask import Blueprint
from sqlalchemy import select

from api.catalogue.answer_types import RejectionPage
from api.context import context
from api.web import paging
from api.web.describe_route import answers, takes_query
from api.web.paging import PageParameters, apply_filters, make_filter_parameters, read_given_filters, read_page
from api.web.row_json import JsonRow
from minipacs.catalogue import Rejection

blueprint = Blueprint("rejections", __name__)
FILTERS = {"code": paging.equals(Rejection.code)}
RejectionParameters = make_filter_parameters("RejectionParameters", FILTERS, PageParameters)


@blueprint.get("/rejections")
@takes_query(RejectionParameters)
@answers(RejectionPage)
def rejections(query: PageParameters) -> JsonRow:
    """What could not be catalogued or rendered, and why; the newest are not first, the list is by source."""
    chosen = apply_filters(select(Rejection), FILTERS, read_given_filters(query))

    with context().database.reading() as session:
        return read_page(session, chosen, [(Rejection.source, False)], "rejections", query)
