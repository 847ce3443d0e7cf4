"""SELECTs by one key that every request needs: compiled once, on one connection that stays open, with a short lease.

A row that was found may be used for `LEASE_S` without another look. Who changes or deletes such a row waits as long
before answering (`wait_for_leases`): when it is said to have ended, no process uses it any more, on any machine, and
busy clients cost a look a tenth of a second instead of one for each request. What was not found is never remembered.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam
from sqlalchemy.exc import SQLAlchemyError

from minipacs.database import Database
from minipacs.errors import CatalogueUnavailable

LEASE_S = 0.1
"""So long a row is used without another look."""
MAX_ROWS = 10_000
KEY: BindParameter[str] = bindparam("key")
"""What the statements compare with; they take no other value."""

Found = tuple[Any, ...] | None


def wait_for_leases() -> None:
    """Wait until no process uses a row as it was before the transaction that has just ended."""
    time.sleep(LEASE_S)


class LookupConnection:
    """One connection for look-ups, shared by the threads of a process; it is opened at the first look-up."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = database.engine.dialect
        self._connection: Any = None
        self._lock = threading.Lock()

    def prepare(self, statement: Select[*tuple[Any, ...]]) -> Callable[[str], Found]:
        """A function that takes a value of `KEY` and returns the first row of `statement`, or None."""
        compiled = statement.compile(dialect=self._dialect)
        sql, constants = str(compiled), dict(compiled.params)
        names: list[str] = getattr(compiled, "positiontup", None) or []
        leases: dict[str, tuple[float, Found]] = {}

        def find(key: str) -> Found:
            began = time.monotonic()
            expires, row = leases.get(key, (0.0, None))
            if began < expires:
                return row

            values = {**constants, KEY.key: key}
            row = self._select(sql, [values[name] for name in names] if names else values)
            if len(leases) >= MAX_ROWS:
                leases.clear()
            leases[key] = (began + LEASE_S if row else 0.0, row)
            return row

        return find

    def close(self) -> None:
        """Close the connection; the next look-up opens another."""
        with self._lock:
            self._drop()

    def _select(self, sql: str, values: Any) -> Found:
        with self._lock:
            try:
                return self._execute(sql, values)
            except (self._dialect.loaded_dbapi.Error, SQLAlchemyError):  # the server may have closed the connection
                self._drop()
            try:
                return self._execute(sql, values)
            except (self._dialect.loaded_dbapi.Error, SQLAlchemyError) as error:
                self._drop()
                raise CatalogueUnavailable(
                    "The catalogue's database does not answer.", "Start it, or correct MINIPACS_DATABASE_URL."
                ) from error

    def _execute(self, sql: str, values: Any) -> Found:
        if self._connection is None:
            self._connection = self._database.open_autocommit_connection()
        row: Found = self._connection.execute(sql, values).fetchone()
        return row

    def _drop(self) -> None:
        with suppress(self._dialect.loaded_dbapi.Error):
            if self._connection is not None:
                self._connection.close()
        self._connection = None
