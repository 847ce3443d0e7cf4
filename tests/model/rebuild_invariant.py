"""What must be true of rows after a rest: those of an empty catalogue that is filled from the archive now.

Here the product is compared with itself: what it made little by little with what it makes at once. Importing this
module adds its invariant to `invariants.INVARIANTS`.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Table, inspect, select

from etl.catalogue_run import load_source_into_catalogue
from etl.extract import ArchiveSource
from etl.options import Options
from minipacs.catalogue import Instance, Patient, Rejection, Rendering, Segment, Series, Study
from minipacs.database import Database
from model.invariants import Rest, invariant

TABLES = (Patient, Study, Series, Instance, Rendering, Segment, Rejection)
OF_THE_RUN = {"png_path", "rendered_with", "options", "file_uuid"}
"""Columns that say how, when or where to a row was made."""
SHARE_OF_RESTS = 1 / 4
"""It takes as long as all the work of the sequence did."""


@invariant
def rows_are_those_of_a_new_catalogue(rest: Rest) -> Iterator[str]:
    """Every column of every row, after some of the rests."""
    if rest.random.random() > SHARE_OF_RESTS:
        return
    world = rest.scene.world
    with tempfile.TemporaryDirectory(dir=world.folder) as folder:
        database = world.open_empty_database(Path(folder))
        studies = [world.archive.read_study(study_id) for study_id in sorted(world.archive.list_study_ids())]
        load_source_into_catalogue(ArchiveSource(world.settings, studies), database, Options(target=Path(folder)))
        for table in TABLES:
            yield from _compare_rows(table.__tablename__, read_rows(world.database, table), read_rows(database, table))
        database.close()


def read_rows(database: Database, model: Any) -> dict[Any, dict[str, Any]]:
    """The rows of a table by their key, without what only says how they were made."""
    table: Table = inspect(model).local_table
    kept = [column for column in table.columns if column.name not in OF_THE_RUN]
    keys = [column.name for column in table.primary_key.columns]
    with database.reading() as session:
        rows = [dict(row) for row in session.execute(select(*kept)).mappings()]
    return {tuple(row[key] for key in keys): row for row in rows}


def _compare_rows(name: str, found: dict[Any, dict[str, Any]], wanted: dict[Any, dict[str, Any]]) -> Iterator[str]:
    """The differences, by table and column; never a value, which may be long."""
    if missing := wanted.keys() - found.keys():
        yield f"{name}: {len(missing)} rows are missing"
    if extra := found.keys() - wanted.keys():
        yield f"{name}: {len(extra)} rows too many"
    both = found.keys() & wanted.keys()
    differing = {column for key in both for column, value in wanted[key].items() if found[key][column] != value}
    for column in sorted(differing):
        number = sum(found[key][column] != wanted[key][column] for key in both)
        yield f"{name}.{column}: another value in {number} rows"
