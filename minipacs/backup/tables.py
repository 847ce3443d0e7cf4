"""The rows of every table as JSON lines: from one database at one moment, into another of either kind."""

import json
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from typing import Any

from sqlalchemy import JSON, Connection, Date, DateTime, MetaData, Table, Time, func, insert, select, text

from minipacs.database import Database

ROWS_A_BATCH = 1000
PARSERS: dict[type[Any], Any] = {
    DateTime: datetime.fromisoformat,
    Date: date.fromisoformat,
    Time: time.fromisoformat,
}


def reflect_tables(connection: Connection) -> list[Table]:
    """Every table there is, those that others point to first."""
    found = MetaData()
    found.reflect(connection)
    for table in found.tables.values():
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type = JSON(none_as_null=True)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


class Snapshot:
    """All tables at one moment, in one transaction; writers are not kept waiting. Use with `with`."""

    def __init__(self, database: Database) -> None:
        level = {"isolation_level": "REPEATABLE READ"} if database.is_postgresql else {}
        self.connection = database.engine.connect().execution_options(**level)

    def __enter__(self) -> "Snapshot":
        self.tables = reflect_tables(self.connection)
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def read_json_lines(self, table: Table) -> Iterator[bytes]:
        """Each row of the table as a line of JSON."""
        found = self.connection.execution_options(yield_per=ROWS_A_BATCH).execute(select(table))
        return (json.dumps(dict(row), default=_value_as_text).encode() + b"\n" for row in found.mappings())


def insert_rows(connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> int:
    """Insert rows in the caller's transaction; how many they were."""
    readers = {c.name: read for c in table.columns for kind, read in PARSERS.items() if isinstance(c.type, kind)}
    count, batch = 0, []
    for row in rows:
        batch.append({name: _parse_value(readers.get(name), value) for name, value in row.items()})
        if len(batch) == ROWS_A_BATCH:
            connection.execute(insert(table), batch)
            count, batch = count + len(batch), []
    if batch:
        connection.execute(insert(table), batch)
    _set_sequences(connection, table)
    return count + len(batch)


def _parse_value(reader: Any, value: Any) -> Any:
    return reader(value) if reader is not None and value is not None else value


def _value_as_text(value: Any) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    raise TypeError(f"a column holds a {type(value).__name__}")


def _set_sequences(connection: Connection, table: Table) -> None:
    """PostgreSQL numbers new rows by a sequence that does not know the rows just inserted."""
    if connection.dialect.name != "postgresql":
        return
    for column in table.primary_key.columns:
        sequence = connection.scalar(text("SELECT pg_get_serial_sequence(:t, :c)"), {"t": table.name, "c": column.name})
        if sequence:
            last = connection.scalar(select(func.max(column)))
            connection.execute(
                text("SELECT setval(:s, :n, :called)"), {"s": sequence, "n": last or 1, "called": bool(last)}
            )
