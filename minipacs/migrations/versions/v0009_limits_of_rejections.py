"""The limit that a rejected object broke."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Two columns. What an older version rejected for a size is looked at once more."""
    op.add_column("rejection", sa.Column("limit_setting", sa.String(), nullable=True))
    op.add_column("rejection", sa.Column("limit_value", sa.BigInteger(), nullable=True))
    for setting in ("MINIPACS_OBJECT_MB", "MINIPACS_FRAME_MB", "MINIPACS_WORKER_MEMORY_MB"):
        op.execute(f"UPDATE rejection SET limit_setting = '{setting}', limit_value = 0 WHERE remedy LIKE '%{setting}%'")


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
