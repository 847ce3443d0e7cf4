"""Removes instances and their PNGs from the catalogue, some or all."""

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import delete, select, update

from etl.chunks import iter_chunks
from etl.loading.counts import CountUpdater
from minipacs.catalogue import (
    CatalogueCursorRow,
    Instance,
    Patient,
    Rejection,
    Rendering,
    RowCount,
    Segment,
    Series,
    Study,
)
from minipacs.database import Database

__all__ = ["CURSOR_NAME", "clear_catalogue", "delete_pngs", "remove_instances"]

CURSOR_NAME = "etl"
"""Of the cursor that says how far the archive's change log is in the catalogue."""

INSTANCES_PER_TRANSACTION = 500
PATHS_PER_FETCH = 1000


def remove_instances(database: Database, instance_keys: Iterable[str]) -> int:
    """Remove instances with all that belongs to them; how many keys there were.

    The PNGs go first: when this is interrupted, a repeated run still finds the rows. What was rejected as a copy of a
    removed instance, or for a conflict with it, keeps its rejection but is looked at again (`options` is None).
    """
    number = 0
    for chunk in iter_chunks(instance_keys, INSTANCES_PER_TRANSACTION):
        with database.reading() as session:
            delete_pngs(session.scalars(select(Rendering.png_path).where(Rendering.instance_key.in_(chunk))))

        with database.writing() as session:
            sources = session.scalars(select(Instance.source).where(Instance.instance_key.in_(chunk))).all()
            counts = CountUpdater(session, database)
            counts.remove_instances(chunk)
            counts.write_totals()
            session.execute(delete(Rejection).where(Rejection.source.in_(sources)))
            session.execute(update(Rejection).where(Rejection.instance_key.in_(chunk)).values(options=None))

        number += len(chunk)
    return number


def clear_catalogue(database: Database) -> None:
    """Remove everything that describes the archive, PNGs too, before it is built anew. Jobs and results stay."""
    with database.reading() as session:
        for paths in session.scalars(select(Rendering.png_path)).partitions(PATHS_PER_FETCH):
            delete_pngs(paths)

    with database.writing() as session:
        for table in (Rendering, Segment, Instance, Series, Study, Patient, Rejection, RowCount):
            session.execute(delete(table))
        session.execute(delete(CatalogueCursorRow).where(CatalogueCursorRow.name == CURSOR_NAME))


def delete_pngs(paths: Iterable[str]) -> None:
    """Delete PNGs; one that is gone already is no error."""
    for path in paths:
        Path(path).unlink(missing_ok=True)
