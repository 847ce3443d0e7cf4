"""Rows of the catalogue are keyed by Orthanc's identifiers; UIDs are attributes, which may be twice.

An archived instance has its identifier in `source`. Studies and series, and the files of folders, get the identifier
that Orthanc would give them by the Patient ID in the catalogue. Where that was the Patient ID of another object of the
study, the key is wrong until the study is catalogued again: `rendered_with` is emptied, so that the next run reads
every object, puts it below its own study, and replaces its pictures.
"""

from collections.abc import Iterator
from hashlib import sha1
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

PREFIX = "archive:"
ROWS_AT_ONCE = 5000
TABLES = ("study", "series", "instance", "rendering", "segment")
"""Those that are made anew, parents first."""

Values = dict[str, Any]


def upgrade() -> None:
    """Make the tables anew with keys, fill them from the old ones, and remove those."""
    connection = op.get_bind()
    old = {name: _set_aside(connection, name) for name in TABLES}
    keys = _make_key_tables(connection)
    _fill_key_tables(connection, old, keys)

    study = _make_table(
        old["study"], ["study_key"], references={"patient_key": "patient.patient_key"}, key=["study_key"]
    )
    series = _make_table(
        old["series"],
        ["series_key", "study_key"],
        references={"study_key": "study.study_key"},
        required=("study_instance_uid",),
        key=["series_key"],
    )
    instance = _make_table(
        old["instance"],
        ["instance_key", "series_key"],
        references={"series_key": "series.series_key"},
        required=("series_instance_uid",),
        more=(sa.Column("content_md5", sa.String()), sa.Column("file_uuid", sa.String())),
        key=["instance_key"],
    )
    of_instance = {"instance_key": "instance.instance_key"}
    rendering = _make_table(
        old["rendering"],
        ["instance_key"],
        references=of_instance,
        required=("sop_instance_uid",),
        key=["rendering_id"],
    )
    segment = _make_table(
        old["segment"], ["instance_key"], references=of_instance, key=["instance_key", "segment_number"]
    )

    uids = {"study": "study_instance_uid", "series": "series_instance_uid", "instance": "sop_instance_uid"}
    for table, own, above in ((study, "study", ""), (series, "series", "study"), (instance, "instance", "series")):
        _copy(connection, old[own], table, {level: keys[level] for level in (own, above) if level}, uids)
    for table in (rendering, segment):
        _copy(connection, old[table.name], table, {"instance": keys["instance"]}, uids)

    _add_keys_to_rejections(connection, old, keys)
    for name in reversed(TABLES):
        op.drop_table(f"old_{name}")
    for table in keys.values():
        table.drop(connection)
    _make_indexes()


def _set_aside(connection: sa.Connection, name: str) -> sa.Table:
    """Rename a table and drop its indexes, whose names the new one has; the old one as it is."""
    for index in sa.inspect(connection).get_indexes(name):
        op.drop_index(str(index["name"]), name)
    op.rename_table(name, f"old_{name}")
    if connection.dialect.name == "postgresql":
        constraint = sa.inspect(connection).get_pk_constraint(f"old_{name}")["name"]
        op.execute(f'ALTER TABLE old_{name} RENAME CONSTRAINT "{constraint}" TO "old_{constraint}"')
    return sa.Table(f"old_{name}", sa.MetaData(), autoload_with=connection, resolve_fks=False)


def _make_table(
    old: sa.Table,
    key_columns: list[str],
    *,
    references: dict[str, str],
    key: list[str],
    required: tuple[str, ...] = (),
    more: tuple[sa.Column[Any], ...] = (),
) -> sa.Table:
    """A table with these columns of keys before those of the old one."""
    cascade = "CASCADE" if "instance_key" in references else None
    constraints = [
        sa.ForeignKeyConstraint([column], [target], ondelete=cascade) for column, target in references.items()
    ]
    return op.create_table(
        old.name.removeprefix("old_"),
        *(sa.Column(name, sa.String(), nullable=False) for name in key_columns),
        *(
            sa.Column(c.name, c.type, nullable=c.nullable and c.name not in required, comment=c.comment)
            for c in old.columns
        ),
        *more,
        *constraints,
        sa.PrimaryKeyConstraint(*key),
    )


def _make_key_tables(connection: sa.Connection) -> dict[str, sa.Table]:
    """Temporary tables: the key of each UID, by level."""
    metadata = sa.MetaData()
    tables = {
        level: sa.Table(
            f"key_of_{level}",
            metadata,
            sa.Column("uid", sa.String(), primary_key=True),
            sa.Column("key", sa.String(), nullable=False, unique=True),
            prefixes=["TEMPORARY"],
        )
        for level in ("study", "series", "instance")
    }
    for table in tables.values():
        table.create(connection)
    return tables


def _fill_key_tables(connection: sa.Connection, old: dict[str, sa.Table], keys: dict[str, sa.Table]) -> None:
    patient = sa.table("patient", sa.column("patient_key", sa.String()), sa.column("patient_id", sa.String()))
    study, series, instance = (old[level].c for level in ("study", "series", "instance"))
    patient_id = sa.func.coalesce(patient.c.patient_id, "")

    studies = sa.select(study.study_instance_uid, patient_id).join_from(
        old["study"], patient, patient.c.patient_key == study.patient_key
    )
    several_series = sa.select(series.series_instance_uid, patient_id, study.study_instance_uid).select_from(
        old["series"]
        .join(old["study"], study.study_instance_uid == series.study_instance_uid)
        .join(patient, patient.c.patient_key == study.patient_key)
    )
    instances = sa.select(
        instance.sop_instance_uid, patient_id, study.study_instance_uid, series.series_instance_uid
    ).select_from(
        old["instance"]
        .join(old["series"], series.series_instance_uid == instance.series_instance_uid)
        .join(old["study"], study.study_instance_uid == series.study_instance_uid)
        .join(patient, patient.c.patient_key == study.patient_key)
    )
    _fill_by_formula(connection, studies, keys["study"])
    _fill_by_formula(connection, several_series, keys["series"])
    _fill_from_archive(connection, old["instance"], keys["instance"])

    known = sa.select(keys["instance"].c.uid).where(keys["instance"].c.uid == instance.sop_instance_uid)
    _fill_by_formula(connection, instances.where(~known.exists()), keys["instance"])

    if connection.dialect.name == "postgresql":  # which takes a temporary table for a small one
        for table in keys.values():
            op.execute(f"ANALYZE {table.name}")


def _fill_from_archive(connection: sa.Connection, instance: sa.Table, keys: sa.Table) -> None:
    """The archive's identifier of each archived instance; two rows of one source, which nothing should have made, have
    the identifier once.
    """
    archived = sa.select(sa.func.min(instance.c.sop_instance_uid), sa.func.substr(instance.c.source, len(PREFIX) + 1))
    archived = archived.where(instance.c.source.startswith(PREFIX)).group_by(instance.c.source)
    connection.execute(keys.insert().from_select(["uid", "key"], archived))


def _fill_by_formula(connection: sa.Connection, values: sa.Select[Any], keys: sa.Table) -> None:
    """The identifier that Orthanc would give: each row of `values` has the UID, the Patient ID, the UIDs above."""
    for page in _read_pages(connection, values):
        rows = [{"uid": uid, "key": _compute_identifier(patient_id, *above, uid)} for uid, patient_id, *above in page]
        connection.execute(keys.insert(), rows)


def _read_pages(connection: sa.Connection, values: sa.Select[Any]) -> Iterator[list[Any]]:
    """The rows of a statement, some at once, by the first column."""
    uid = next(iter(values.selected_columns))
    last = ""
    while page := connection.execute(values.where(uid > last).order_by(uid).limit(ROWS_AT_ONCE)).all():
        yield list(page)
        last = page[-1][0]


def _compute_identifier(*parts: str) -> str:
    """`8-8-8-8-8`: Orthanc's SHA-1 over Patient ID and UIDs."""
    digits = sha1("|".join(parts).encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    return "-".join(digits[i : i + 8] for i in range(0, 40, 8))


def _copy(
    connection: sa.Connection, old: sa.Table, new: sa.Table, keys: dict[str, sa.Table], uids: dict[str, str]
) -> None:
    """Insert the old rows with the keys that belong to their UIDs."""
    joined: sa.FromClause = old
    for level, table in keys.items():
        joined = joined.join(table, table.c.uid == old.c[uids[level]])

    columns = [column for column in old.columns if column.name != "rendered_with"]
    key_columns = [table.c.key.label(f"{level}_key") for level, table in keys.items()]
    selected = sa.select(*key_columns, *columns).select_from(joined)
    names = [*(f"{level}_key" for level in keys), *(column.name for column in columns)]
    connection.execute(new.insert().from_select(names, selected, include_defaults=False))


def _add_keys_to_rejections(connection: sa.Connection, old: dict[str, sa.Table], keys: dict[str, sa.Table]) -> None:
    """Three columns. Copies and conflicts are looked at again: they may be objects of their own now."""
    op.add_column("rejection", sa.Column("instance_key", sa.String(), nullable=True))
    op.add_column("rejection", sa.Column("series_key", sa.String(), nullable=True))
    op.add_column("rejection", sa.Column("study_key", sa.String(), nullable=True))

    columns = ("source", "sop_instance_uid", "code", "options", "instance_key", "series_key", "study_key")
    rejection = sa.table("rejection", *(sa.column(name, sa.String()) for name in columns))
    instance, series = old["instance"].c, old["series"].c
    of_series = (
        sa.select(keys["series"].c.key)
        .join_from(old["instance"], keys["series"], keys["series"].c.uid == instance.series_instance_uid)
        .where(instance.sop_instance_uid == rejection.c.sop_instance_uid)
    )
    of_study = (
        sa.select(keys["study"].c.key)
        .select_from(
            old["instance"]
            .join(old["series"], series.series_instance_uid == instance.series_instance_uid)
            .join(keys["study"], keys["study"].c.uid == series.study_instance_uid)
        )
        .where(instance.sop_instance_uid == rejection.c.sop_instance_uid)
    )
    of_instance = sa.select(keys["instance"].c.key).where(keys["instance"].c.uid == rejection.c.sop_instance_uid)
    connection.execute(
        rejection.update().values(
            instance_key=of_instance.scalar_subquery(),
            series_key=of_series.scalar_subquery(),
            study_key=of_study.scalar_subquery(),
        )
    )
    archived = rejection.update().where(rejection.c.source.startswith(PREFIX))
    connection.execute(archived.values(instance_key=sa.func.substr(rejection.c.source, len(PREFIX) + 1)))
    repeated = rejection.update().where(rejection.c.code.in_(("copy", "conflict")))
    connection.execute(repeated.values(options=None))


def _make_indexes() -> None:
    columns = {
        "study": ("study_instance_uid", "patient_key", "study_date", "accession_number"),
        "series": ("series_instance_uid", "study_key", "study_instance_uid", "modality"),
        "instance": ("sop_instance_uid", "series_key", "series_instance_uid", "source"),
        "rendering": ("instance_key", "sop_instance_uid", "split"),
        "segment": ("sop_instance_uid", "type_code"),
        "rejection": ("instance_key", "study_key"),
    }
    for table, names in columns.items():
        for name in names:
            op.create_index(f"ix_{table}_{name}", table, [name])


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
