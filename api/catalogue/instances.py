"""Images, as the older clients call instances: what is known of each, its pictures."""

import os

from flask import Blueprint, Response
from sqlalchemy import select

from api.catalogue import lookups
from api.catalogue.answer_types import InstanceDetails, InstancePage, InstanceTotal
from api.context import context
from api.web import paging
from api.web.describe_route import answers, discloses_nothing, takes_query
from api.web.file_responses import send_from
from api.web.paging import (
    PageParameters,
    apply_filters,
    make_filter_parameters,
    one_or_404,
    read_given_filters,
    read_page,
)
from api.web.row_json import JsonRow
from minipacs.catalogue import Instance, Rendering, Series, lookup
from minipacs.errors import NotFound

blueprint = Blueprint("images", __name__)
LIST = "/images"
ORDER = [(Instance.sop_instance_uid, False), (Instance.instance_key, False)]
FILTERS = {
    "SeriesInstanceUID": paging.equals(Instance.series_instance_uid),
    "SOPClassUID": paging.equals(Instance.sop_class_uid),
    "InstanceNumber": paging.equals(Instance.instance_number),
    "split": lambda text: Instance.instance_key.in_(select(Rendering.instance_key).where(Rendering.split == text)),
    "modality": lambda text: Instance.series_key.in_(select(Series.series_key).where(Series.modality == text)),
    "StudyInstanceUID": lambda text: Instance.series_key.in_(
        select(Series.series_key).where(Series.study_instance_uid == text)
    ),
}
InstanceParameters = make_filter_parameters("InstanceParameters", FILTERS, PageParameters)


@blueprint.get("/images")
@takes_query(InstanceParameters)
@answers(InstancePage)
def images(query: PageParameters) -> JsonRow:
    """Instances, a page at a time."""
    chosen = apply_filters(select(Instance), FILTERS, read_given_filters(query))

    with context().database.reading() as session:
        return read_page(session, chosen, ORDER, "images", query)


@blueprint.get("/images/count")
@discloses_nothing
@answers(InstanceTotal)
def image_count() -> JsonRow:
    """How many instances there are, of any kind: images, SEG, SR."""
    return lookups.find_total(context(), "images") or {}


@blueprint.get("/images/<sop_instance_uid>")
@answers(InstanceDetails)
def image(sop_instance_uid: str) -> JsonRow:
    """An instance, by its UID, with its pictures or its segments."""
    return one_or_404(lookups.find_instance(context(), sop_instance_uid), "image", sop_instance_uid, LIST)


@blueprint.get("/images/<sop_instance_uid>/png")
@answers("image/png")
def first_picture(sop_instance_uid: str) -> Response:
    """The first picture of an instance."""
    with context().database.reading() as session:
        instance = one_or_404(lookup.find_instance(session, sop_instance_uid), "image", sop_instance_uid, LIST)
        pictures = select(Rendering).where(Rendering.instance_key == instance.instance_key)
        picture = session.scalars(pictures.order_by(Rendering.frame_number, Rendering.window_number).limit(1)).first()

    if picture is None:
        raise NotFound(f"There is no picture of {sop_instance_uid!r}.", "It may be no image, or not rendered yet.")
    output = context().settings.output
    return send_from(output, os.path.relpath(os.path.join(output, picture.png_path), output))
