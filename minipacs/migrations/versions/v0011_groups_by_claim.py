"""Members of groups by a claim of the single sign-on."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """One column: an administrator put in everybody who is a member."""
    op.add_column("group_member", sa.Column("is_by_claim", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
