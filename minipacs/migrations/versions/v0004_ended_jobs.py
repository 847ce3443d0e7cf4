"""Find ended jobs by their end: for notifications and metrics."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """One index."""
    op.create_index("job_finished", "job", ["finished"])


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
