"""The fingerprint of the key of the audit's chain; one that is there gets it with its next entry."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """One column, empty at first."""
    op.add_column("api_audit_chain", sa.Column("key_fingerprint", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
