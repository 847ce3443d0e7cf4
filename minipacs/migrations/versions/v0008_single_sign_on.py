"""Users of a single sign-on."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """One column, each value once."""
    op.add_column("api_user", sa.Column("openid_subject", sa.String(), nullable=True))
    op.create_index("ix_api_user_openid_subject", "api_user", ["openid_subject"], unique=True)


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
