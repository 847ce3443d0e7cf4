"""The audit: repeats with their number, what was searched and reached, the chain of hashes, the spools."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Columns of the audit, its chain, how far each spool was read."""
    op.add_column("api_audit", sa.Column("count", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("api_audit", sa.Column("last_at", sa.Double(), nullable=True))
    op.add_column("api_audit", sa.Column("query", sa.Text(), nullable=False, server_default=""))
    op.add_column("api_audit", sa.Column("studies", sa.Text(), nullable=False, server_default=""))
    op.add_column("api_audit", sa.Column("patients", sa.Text(), nullable=False, server_default=""))
    op.add_column("api_audit", sa.Column("disclosed", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("api_audit", sa.Column("mac", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "api_audit_chain",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("base", sa.String(), nullable=False),
        sa.Column("last_id", sa.Integer(), nullable=False),
        sa.Column("last", sa.String(), nullable=False),
        sa.Column("seal", sa.String(), nullable=False),
        sa.Column("sent_id", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "api_audit_spool",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
