"""What Alembic runs for each command: our connection, our transaction, our tables."""

from alembic import context

from minipacs.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter a table: Alembic makes a new one and copies
    transactional_ddl=True,  # both databases can; the caller holds the transaction
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
