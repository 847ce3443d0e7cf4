"""Look-ups by key without the ORM: one statement on a connection each thread keeps, a row as JSON.

The routes that scripts ask thousands of times a second (counts, one patient, one image) come here; all
else reads through `Database.reading()`. Every statement is a transaction of its own, so that the
connection always sees what was committed last.
"""

import json
import threading
from typing import Any

from sqlalchemy import JSON, Select, bindparam, select
from sqlalchemy.exc import DBAPIError

from api.web.row_json import HIDDEN, key, keys, plain
from minipacs.catalogue import Counts, Total
from minipacs.database import Database
from minipacs.errors import CatalogueUnavailable
from minipacs.tables import Base


class Reader:
    """Shared by threads; each has a connection of its own."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine
        self._positional = not database.is_postgresql
        self._here = threading.local()
        self._opened: list[Any] = []
        self._statements: dict[object, tuple[str, tuple[tuple[str, bool], ...]]] = {}
        self._families: dict[int, tuple[str, tuple[tuple[str, bool], ...], list[list[int]]]] = {}
        self._totals = self._sql(select(Total.name, Total.number))

    def row(self, table: type[Base], key: str) -> dict[str, Any] | None:
        """The row with this primary key as JSON; None when there is none."""
        (primary,) = table.__table__.primary_key
        found = self.rows(table, primary, key, primary)
        return found[0] if found else None

    def rows(self, table: type[Base], column: Any, value: str, order: Any) -> list[dict[str, Any]]:
        """The rows that have this value in this column, in an order, as JSON."""
        known = self._statements.get((table, column.key))
        if known is None:
            columns = table.__table__.columns
            wanted = select(*(columns[name] for name, _ in keys(table))).where(column == bindparam("value"))
            packed = tuple((shown, isinstance(columns[name].type, JSON)) for name, shown in keys(table))
            known = self._statements[table, column.key] = (self._sql(wanted.order_by(order)), packed)
        return self._told(known, value)

    def first(self, statement: Select[*tuple[Any, ...]], value: str) -> dict[str, Any] | None:
        """The first row of a statement that takes `value` and selects an entity or columns; as JSON.

        `statement` is a constant of its module: it is compiled once.
        """
        known = self._statements.get(id(statement))
        if known is None:
            shown = [c for c in statement.selected_columns if c.key not in HIDDEN]
            packed = tuple((key(column), isinstance(column.type, JSON)) for column in shown)
            known = self._statements[id(statement)] = (self._sql(statement.with_only_columns(*shown)), packed)
        found = self._told(known, value)
        return found[0] if found else None

    def together(self, statement: Select[*tuple[Any, ...]], value: str) -> list[list[dict[str, Any] | None]]:
        """The rows of a statement that selects several entities, one JSON each; None where an outer join found none.

        One round trip instead of one for each level: what counts when the database is another process.
        """
        known = self._families.get(id(statement))
        if known is None:
            shown = [c for c in statement.selected_columns if c.key not in HIDDEN]
            tables = list(dict.fromkeys(c.table for c in shown))
            places = [[i for i, c in enumerate(shown) if c.table is table] for table in tables]
            packed = tuple((key(column), isinstance(column.type, JSON)) for column in shown)
            sql = self._sql(statement.with_only_columns(*shown))
            known = self._families[id(statement)] = (sql, packed, places)
        sql, packed, places = known
        found = self._execute(sql, (value,) if self._positional else {"value": value})
        return [
            [
                {packed[i][0]: _cell(row[i], packed[i][1]) for i in here} if row[here[0]] is not None else None
                for here in places
            ]
            for row in found
        ]

    def _told(self, known: tuple[str, tuple[tuple[str, bool], ...]], value: str) -> list[dict[str, Any]]:
        sql, packed = known
        return [
            {name: _cell(cell, is_json) for (name, is_json), cell in zip(packed, found, strict=True)}
            for found in self._execute(sql, (value,) if self._positional else {"value": value})
        ]

    def totals(self) -> Counts:
        """The counts of the whole catalogue."""
        found = dict(self._execute(self._totals, () if self._positional else {}))
        return Counts(*(found.get(name, 0) for name in ("patient", "study", "series", "instance")))

    def close(self) -> None:
        """Give the connections back."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()

    def _sql(self, statement: Select[*tuple[Any, ...]]) -> str:
        return str(statement.compile(dialect=self._engine.dialect))

    def _execute(self, sql: str, values: Any) -> list[Any]:
        """All rows; a connection that broke is opened anew, once."""
        broken: Any = self._engine.dialect.loaded_dbapi.Error
        for attempt in (1, 2):
            try:
                return list(self._connection().execute(sql, values).fetchall())
            except broken as error:
                self._here.connection = None
                if attempt == 2:
                    raise CatalogueUnavailable(
                        f"The catalogue's database does not answer ({str(error).strip().splitlines()[0]}).",
                        "Start the database, or correct MINIPACS_DATABASE_URL.",
                    ) from error
        return []

    def _connection(self) -> Any:
        """This thread's connection; each statement is committed by itself."""
        kept = getattr(self._here, "connection", None)
        if kept is not None:
            return kept
        try:
            lent = self._engine.raw_connection()
        except DBAPIError as error:
            raise CatalogueUnavailable(
                "The catalogue's database does not answer.", "Start it, or correct MINIPACS_DATABASE_URL."
            ) from error
        connection: Any = lent.dbapi_connection
        lent.detach()
        if not self._positional:
            connection.autocommit = True
        self._here.connection = connection
        self._opened.append(connection)
        return connection


def _cell(cell: Any, is_json: bool) -> Any:
    return json.loads(cell) if is_json and isinstance(cell, str) else plain(cell)
