"""The token that made a share."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """One column; the links of before it, which end within a week, end with their users alone."""
    op.add_column("api_share", sa.Column("token_name", sa.String(), nullable=True))


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
