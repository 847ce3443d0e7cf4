"""Studies that are in a group while their first object is on its way."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """One column: what is in a group already stays there."""
    op.add_column("grouped_study", sa.Column("reserved_until", sa.Double(), nullable=True))


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
