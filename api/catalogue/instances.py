"""Images, as the older clients call instances: what is known of each, its pictures."""

import os
from typing import Any

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.catalogue import lookups
from api.context import context
from api.web import paging
from api.web.file_responses import send
from minipacs.catalogue import Instance, Rendering, Series
from minipacs.errors import NotFound

blueprint = Blueprint("images", __name__)
FILTERS = {
    "SeriesInstanceUID": paging.equals(Instance.series_instance_uid),
    "SOPClassUID": paging.equals(Instance.sop_class_uid),
    "InstanceNumber": paging.equals(Instance.instance_number),
    "split": lambda text: Instance.sop_instance_uid.in_(
        select(Rendering.sop_instance_uid).where(Rendering.split == text)
    ),
    "modality": lambda text: Instance.series_instance_uid.in_(
        select(Series.series_instance_uid).where(Series.modality == text)
    ),
    "StudyInstanceUID": lambda text: Instance.series_instance_uid.in_(
        select(Series.series_instance_uid).where(Series.study_instance_uid == text)
    ),
}


@blueprint.get("/images")
def images() -> dict[str, Any]:
    """Instances, a page at a time."""
    with context().database.reading() as session:
        chosen = paging.filtered(select(Instance), FILTERS)
        return paging.page(session, chosen, [(Instance.sop_instance_uid, False)], "images")


@blueprint.get("/images/count")
def image_count() -> dict[str, Any]:
    """How many instances there are, of any kind: images, SEG, SR."""
    return lookups.totals(context(), "images") or {}


@blueprint.get("/images/<sop_instance_uid>")
def image(sop_instance_uid: str) -> dict[str, Any]:
    """An instance, by its UID, with its pictures or its segments."""
    row = lookups.image(context(), sop_instance_uid)
    if row is None:
        raise missing(sop_instance_uid)
    return row


@blueprint.get("/images/<sop_instance_uid>/png")
def png(sop_instance_uid: str) -> Any:
    """The first picture of an instance."""
    with context().database.reading() as session:
        found(session, sop_instance_uid)
        pictures = select(Rendering).where(Rendering.sop_instance_uid == sop_instance_uid)
        picture = session.scalars(pictures.order_by(Rendering.frame_number, Rendering.window_number).limit(1)).first()
    if picture is None:
        raise NotFound(f"There is no picture of {sop_instance_uid!r}.", "It may be no image, or not rendered yet.")
    output = context().settings.output
    return send(output, os.path.relpath(os.path.join(output, picture.png_path), output))


@blueprint.get("/imageinfo/<path:filename>")
def image_info(filename: str) -> dict[str, Any]:
    """What a PNG shows, by its name with or without folder and extension; or by SOP Instance UID."""
    row = lookups.picture(context(), filename)
    if row is None:
        raise NotFound(f"There is no PNG {filename!r}.", "Give the name of a file below the PNG folder.")
    return row


def found(session: Session, sop_instance_uid: str) -> Instance:
    """The instance, or `NotFound`."""
    entity = None if "\x00" in sop_instance_uid else session.get(Instance, sop_instance_uid)
    if entity is None:
        raise missing(sop_instance_uid)
    return entity


def missing(sop_instance_uid: str) -> NotFound:
    """The error for an unknown instance."""
    return NotFound(f"The catalogue has no image {sop_instance_uid!r}.", "GET /images lists them.")
