"""SELECTs by one key that every request needs: compiled once, on one connection that stays open.

They cost a few microseconds on SQLite and one round trip on PostgreSQL: neither the ORM nor a pool nor a transaction
stands between. Each finds the last committed row, whichever process wrote it.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam
from sqlalchemy.exc import SQLAlchemyError

from minipacs.database import Database
from minipacs.errors import CatalogueUnavailable

KEY: BindParameter[str] = bindparam("key")
"""What the statements compare with; they take no other value."""


class LookupConnection:
    """One connection for look-ups, shared by the threads of a process; it is opened at the first look-up."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = database.engine.dialect
        self._connection: Any = None
        self._lock = threading.Lock()

    def prepare(self, statement: Select[*tuple[Any, ...]]) -> Callable[[str], tuple[Any, ...] | None]:
        """A function that takes a value of `KEY` and returns the first row of `statement`, or None."""
        compiled = statement.compile(dialect=self._dialect)
        sql, constants = str(compiled), dict(compiled.params)

        def find_by_name(key: str) -> tuple[Any, ...] | None:
            return self._find(sql, {**constants, KEY.key: key})

        def find_by_position(key: str) -> tuple[Any, ...] | None:
            return self._find(sql, [key if name == KEY.key else constants[name] for name in names])

        names: list[str] = getattr(compiled, "positiontup", None) or []
        return find_by_position if names else find_by_name

    def close(self) -> None:
        """Close the connection; the next look-up opens another."""
        with self._lock:
            self._drop()

    def _find(self, sql: str, key: Any) -> tuple[Any, ...] | None:
        with self._lock:
            try:
                return self._execute(sql, key)
            except (self._dialect.loaded_dbapi.Error, SQLAlchemyError):  # the server may have closed the connection
                self._drop()
            try:
                return self._execute(sql, key)
            except (self._dialect.loaded_dbapi.Error, SQLAlchemyError) as error:
                self._drop()
                raise CatalogueUnavailable(
                    "The catalogue's database does not answer.", "Start it, or correct MINIPACS_DATABASE_URL."
                ) from error

    def _execute(self, sql: str, key: Any) -> tuple[Any, ...] | None:
        if self._connection is None:
            self._connection = self._database.open_autocommit_connection()
        row: tuple[Any, ...] | None = self._connection.execute(sql, key).fetchone()
        return row

    def _drop(self) -> None:
        with suppress(self._dialect.loaded_dbapi.Error):
            if self._connection is not None:
                self._connection.close()
        self._connection = None
