"""One database for catalogue and jobs: SQLite by default, PostgreSQL by URL, same code.

SQLite runs in WAL mode; a writing session begins with `BEGIN IMMEDIATE`, so that two writers wait
for each other instead of failing half-way, and readers never wait.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Engine,
    Row,
    Select,
    cast,
    create_engine,
    event,
    extract,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from minipacs import migrations
from minipacs.errors import CatalogueUnavailable
from minipacs.files import create_for_home_owner

BUSY_TIMEOUT_S = 30
JULIAN_DAY_1970 = 2440587.5
TOO_LARGE_FOR_INDEX = "54000"
"""PostgreSQL's `program_limit_exceeded`: a value longer than an entry of an index."""
CREATING = 0x6D696E69
"""PostgreSQL's advisory lock for creating tables."""
LookUpValue = str | list[str]
"""A value of a statement; a list where it has `IN`."""


class Database:
    """Sessions on one database. Safe to share between threads; open one in each process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = open_engine(url)
        self._writing = self.engine.execution_options(minipacs_writing=True)
        self._autocommit = open_autocommit_engine(url)

    @property
    def is_postgresql(self) -> bool:
        """Whether the database is PostgreSQL, not SQLite."""
        return self.engine.dialect.name == "postgresql"

    def upgrade_schema(self, step: str = "") -> None:
        """Upgrade the schema to the newest step (or to `step`), in one transaction; an empty database gets all tables.

        Processes that do it at the same time wait for each other.
        """
        step = step or migrations.head()
        with _translate_errors(), self.engine.connect() as connection:
            if migrations.current(connection) == step:
                return
        with _translate_errors(), self.engine.connect().execution_options(minipacs_migrating=True) as connection:
            connection.detach()  # closed afterwards: a connection that checks no foreign keys serves nobody else
            with connection.begin():
                if self.is_postgresql:
                    connection.execute(select(func.pg_advisory_xact_lock(CREATING)))
                migrations.upgrade(connection, step)
                if not self.is_postgresql and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise CatalogueUnavailable(
                        "The upgraded catalogue would have rows that point nowhere; it was left as it was.",
                        "Restore a backup, or rebuild the catalogue from the archive.",
                    )

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads; it never waits for a writer."""
        with _translate_errors(), Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session in one transaction: committed at the end, rolled back on any error."""
        with _translate_errors(), self.open_writing_session() as session, session.begin():
            yield session

    @property
    def writing_engine(self) -> Engine:
        """The engine whose transactions begin as writers."""
        return self._writing

    def open_writing_session(self) -> Session:
        """A session of `writing`, before its transaction."""
        return Session(self._writing)

    def look_up(
        self, statement: Select[*tuple[Any, ...]], **values: str | list[str]
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """Run one SELECT with these values, outside of any transaction: one round trip, and the last committed rows.

        A connection that the server has closed is replaced once.
        """
        with _translate_errors():
            try:
                return self._select(statement, values)
            except OperationalError as error:
                if not error.connection_invalidated:
                    raise
                return self._select(statement, values)  # all old connections are thrown away with the first

    def _select(
        self, statement: Select[*tuple[Any, ...]], values: Mapping[str, str | list[str]]
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        with self._autocommit.connect() as connection:
            return connection.execute(statement, values).all()

    def open_autocommit_connection(self) -> Any:
        """Open a connection of the driver itself, without transactions and in no pool; the caller closes it."""
        pooled = self._autocommit.raw_connection()
        connection = pooled.driver_connection
        pooled.detach()
        return connection

    def build_insert(self, table: Any) -> Any:
        """An `INSERT` statement with `on_conflict_do_…`, which each dialect has in a module of its own."""
        return (postgresql if self.is_postgresql else sqlite).insert(table)

    def now(self) -> ColumnElement[float]:
        """An expression of the database's clock, seconds since 1970 (UTC): the one clock of leases and times."""
        if self.is_postgresql:
            return cast(extract("epoch", func.clock_timestamp()), Double)
        return (func.julianday("now") - JULIAN_DAY_1970) * 86400.0

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        self._autocommit.dispose()


def open_engine(url: str) -> Engine:
    """An engine whose connections are set up as this product needs them."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_size=5)
    file = make_url(url).database
    if file and file != ":memory:":
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        create_for_home_owner(Path(file))
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT_S}000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        migrating = options.get("minipacs_migrating")
        if migrating:  # Alembic rebuilds tables; dropping the old one would delete what points to it
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        writing = options.get("minipacs_writing") or migrating
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def database_exists(url: str) -> bool:
    """Whether there is a database; opening an SQLite database would create it."""
    parsed = make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").exists()


def open_autocommit_engine(url: str) -> Engine:
    """An engine that sends neither BEGIN nor ROLLBACK around a statement."""
    arguments = {"timeout": BUSY_TIMEOUT_S} if url.startswith("sqlite") else {}
    return create_engine(url, isolation_level="AUTOCOMMIT", connect_args=arguments)


def is_fault_of_value(error: DBAPIError) -> bool:
    """Whether a value was refused, and the server is well."""
    return isinstance(error, DataError) or getattr(error.orig, "sqlstate", "") == TOO_LARGE_FOR_INDEX


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Errors of the database become `CatalogueUnavailable`; a full disk is named. A value's fault is a `DataError`."""
    try:
        yield
    except OperationalError as error:
        if is_fault_of_value(error):
            raise DataError(error.statement, error.params, error.orig or error) from error
        text = str(error.orig)
        hint = "Free some disk space." if "full" in text else "Start the database, or correct MINIPACS_DATABASE_URL."
        raise CatalogueUnavailable(
            f"The catalogue's database does not answer ({text.strip().splitlines()[0]}).", hint
        ) from error
