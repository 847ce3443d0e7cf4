"""Series: what they are, what they hold."""

from typing import Any

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.catalogue import instances, lookups
from api.context import context
from api.web import paging
from minipacs.catalogue import Instance, Series, Study
from minipacs.errors import NotFound

blueprint = Blueprint("series", __name__)
FILTERS = {
    "Modality": paging.equals(Series.modality),
    "modality": paging.equals(Series.modality),
    "StudyInstanceUID": paging.equals(Series.study_instance_uid),
    "SeriesDescription": paging.equals(Series.series_description),
    "BodyPartExamined": paging.equals(Series.body_part_examined),
    "Manufacturer": paging.equals(Series.manufacturer),
    "PatientID": lambda text: Series.study_instance_uid.in_(
        select(Study.study_instance_uid).where(Study.patient_key == text)
    ),
}


@blueprint.get("/series")
def all_series() -> dict[str, Any]:
    """Series, a page at a time."""
    with context().database.reading() as session:
        chosen = paging.filtered(select(Series), FILTERS)
        return paging.page(session, chosen, [(Series.series_instance_uid, False)], "series")


@blueprint.get("/series/count")
def series_count() -> dict[str, Any]:
    """How many series there are."""
    return lookups.totals(context(), "series") or {}


@blueprint.get("/series/<series_instance_uid>")
def series(series_instance_uid: str) -> dict[str, Any]:
    """A series, by its UID, with its study's patient."""
    row = lookups.series(context(), series_instance_uid)
    if row is None:
        raise missing(series_instance_uid)
    return row


@blueprint.get("/series/<series_instance_uid>/images")
def images_of_series(series_instance_uid: str) -> dict[str, Any]:
    """The instances of a series, a page at a time."""
    with context().database.reading() as session:
        found(session, series_instance_uid)
        of = select(Instance).where(Instance.series_instance_uid == series_instance_uid)
        chosen = paging.filtered(of, instances.FILTERS)
        return paging.page(session, chosen, [(Instance.sop_instance_uid, False)], "images")


def found(session: Session, series_instance_uid: str) -> Series:
    """The series, or `NotFound`."""
    entity = None if "\x00" in series_instance_uid else session.get(Series, series_instance_uid)
    if entity is None:
        raise missing(series_instance_uid)
    return entity


def missing(series_instance_uid: str) -> NotFound:
    """The error for an unknown series."""
    return NotFound(f"The catalogue has no series {series_instance_uid!r}.", "GET /series lists them.")
