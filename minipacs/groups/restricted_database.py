"""The database as one member of groups may read it: connections on which every table shows its visible rows.

Each connection has temporary views with the names of the tables, which both databases look up first; a query
that names `study` reads the view, whether the ORM, Core or plain SQL made it. Who reads is said to the
connection when a session begins; where nobody was said, the views are empty. A session that writes uses the
tables themselves; what it selects, changes or deletes through the ORM is limited by the same rule.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, bindparam, event, literal, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import String

from minipacs.database import Database, open_autocommit_engine, open_engine
from minipacs.groups.membership import GroupedStudy
from minipacs.groups.visibility import TOTALS, VISIBLE, select_visible, select_visible_totals
from minipacs.tables import Base, load_tables

OPTION = "minipacs_member"
"""Of an engine: the member that reads."""
SETTING = "minipacs.member"
"""Of a connection to PostgreSQL: the same."""

STUDIES_OF_MEMBER = select(GroupedStudy.study_instance_uid).where(
    GroupedStudy.study_instance_uid.in_(bindparam("studies", expanding=True))
)
"""On these connections: those of some studies that are in a group of the member's."""
MAX_STUDIES_AT_ONCE = 500


class current_member(FunctionElement[str]):  # noqa: N801  a function of SQL
    """The member that reads on this connection."""

    type = String()
    inherit_cache = True


@compiles(current_member, "sqlite")
def _name_function_of_sqlite(*_: Any, **__: Any) -> str:
    return "minipacs_member()"


@compiles(current_member, "postgresql")
def _name_setting_of_postgresql(*_: Any, **__: Any) -> str:
    return f"current_setting('{SETTING}', true)"


class RestrictedConnections:
    """Connections with views, shared by all members; one for each process, opened at the first use."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.engine = open_engine(database.url)
        self.autocommit_engine = open_autocommit_engine(database.url)
        _install_views(self.engine, keeps_member=False)
        _install_views(self.autocommit_engine, keeps_member=True)

    def for_member(self, member: str) -> "RestrictedDatabase":
        """The database as this member may read it."""
        return RestrictedDatabase(self, member)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        self.autocommit_engine.dispose()


class RestrictedDatabase(Database):
    """The database as one member may read it."""

    def __init__(self, connections: RestrictedConnections, member: str) -> None:
        self.url = connections.database.url
        self.member = member
        self.engine: Engine = connections.engine.execution_options(minipacs_member=member)
        self._autocommit = connections.autocommit_engine.execution_options(minipacs_member=member)
        self._writing: Engine = connections.database.writing_engine  # type: ignore[assignment]

    def open_writing_session(self) -> Session:
        """A session on the tables themselves; what it reads or changes by the ORM is limited to visible rows."""
        return RestrictedSession(self._writing, info={OPTION: self.member})

    def keep_visible(self, study_instance_uids: Iterable[str]) -> set[str]:
        """Those of these studies that the member sees, be they in the catalogue or not."""
        uids = sorted({uid for uid in study_instance_uids if "\x00" not in uid})
        found: set[str] = set()
        for start in range(0, len(uids), MAX_STUDIES_AT_ONCE):
            rows = self.look_up(STUDIES_OF_MEMBER, studies=uids[start : start + MAX_STUDIES_AT_ONCE])
            found.update(str(row[0]) for row in rows)
        return found

    def close(self) -> None:
        """Nothing: the connections are shared."""


class RestrictedSession(Session):
    """A session whose SELECT, UPDATE and DELETE concern the rows that a member sees."""


@event.listens_for(RestrictedSession, "do_orm_execute")
def _add_criteria(state: ORMExecuteState) -> None:
    """Limit a statement; an INSERT names no rows."""
    if state.is_insert or state.is_column_load:
        return
    member = literal(state.session.info[OPTION])
    state.statement = state.statement.options(
        *(
            with_loader_criteria(mapper.class_, VISIBLE[mapper.local_table.name](mapper.class_, member))
            for mapper in Base.registry.mappers
            if isinstance(mapper.local_table, Table) and mapper.local_table.name in VISIBLE
        )
    )


def _install_views(engine: Engine, *, keeps_member: bool) -> None:
    """Give every new connection its views, and every session's connection its member.

    `keeps_member`: no transaction is ever rolled back here, so that a connection to PostgreSQL is told but once.
    """
    is_postgresql = engine.dialect.name == "postgresql"

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        if not is_postgresql:
            connection.create_function("minipacs_member", 0, lambda: record.info.get(OPTION, ""), deterministic=True)
        cursor = connection.cursor()
        for statement in _make_views(engine, _read_schema_name(cursor) if is_postgresql else "main"):
            cursor.execute(statement)
        cursor.close()
        if is_postgresql:
            connection.commit()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        member = connection.get_execution_options().get(OPTION, "")
        if is_postgresql and keeps_member:
            _set_member(connection, member)
        elif is_postgresql:  # for this transaction alone: a rollback would bring back the member before this one
            connection.execute(text("SELECT set_config(:name, :member, true)"), {"name": SETTING, "member": member})
        else:
            connection.info[OPTION] = member


def _set_member(connection: Connection, member: str) -> None:
    """Say who reads on this connection, unless it is the same as before."""
    if connection.info.get(OPTION) != member:
        connection.info.pop(OPTION, None)
        connection.execute(text("SELECT set_config(:name, :member, false)"), {"name": SETTING, "member": member})
        connection.info[OPTION] = member


def _read_schema_name(cursor: Any) -> str:
    cursor.execute("SELECT current_schema()")
    return str(cursor.fetchone()[0])


def _make_views(engine: Engine, schema: str) -> list[str]:
    """The statements that put a view before each table; the views read the tables of this schema."""
    tables, member = load_tables().tables, current_member()
    selects: dict[str, Any] = {name: select_visible(tables[name], member) for name in VISIBLE}
    selects[TOTALS] = select_visible_totals(member)
    return [f'CREATE TEMP VIEW "{name}" AS {_compile(engine, each, schema)}' for name, each in selects.items()]


def _compile(engine: Engine, statement: Select[Any], schema: str) -> str:
    """The SELECT with its values and the schema of its tables in it."""
    compiled = statement.compile(
        dialect=engine.dialect,
        schema_translate_map={None: schema},
        render_schema_translate=True,
        compile_kwargs={"literal_binds": True},
    )
    return str(compiled)
