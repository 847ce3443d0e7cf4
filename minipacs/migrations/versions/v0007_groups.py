"""Groups: which studies belong together, who is in them, and who sees all studies."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Three new tables; every user and token sees all, as before."""
    op.create_table(
        "study_group",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "group_member",
        sa.Column("member", sa.String(), nullable=False),
        sa.Column("group_name", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["group_name"], ["study_group.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("member", "group_name"),
    )
    op.create_index("ix_group_member_group_name", "group_member", ["group_name"])
    op.create_table(
        "grouped_study",
        sa.Column("study_instance_uid", sa.String(), nullable=False, comment="0020000D StudyInstanceUID"),
        sa.Column("group_name", sa.String(), nullable=False),
        sa.Column("added", sa.Double(), nullable=False),
        sa.Column("added_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["group_name"], ["study_group.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("study_instance_uid", "group_name"),
    )
    op.create_index("grouped_study_by_group", "grouped_study", ["group_name", "study_instance_uid"])

    for table in ("api_user", "api_token"):
        op.add_column(table, sa.Column("sees_all", sa.Boolean(), nullable=False, server_default=sa.true()))


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
