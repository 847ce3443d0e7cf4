"""A table of results: manifests, and which result took the place of which."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "result",
        sa.Column("seg_series_instance_uid", sa.String(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("series_instance_uid", sa.String(), nullable=False),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("superseded_by", sa.String(), nullable=True),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seg_series_instance_uid"),
        if_not_exists=True,
    )
    op.create_index("ix_result_study_instance_uid", "result", ["study_instance_uid"], if_not_exists=True)


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
