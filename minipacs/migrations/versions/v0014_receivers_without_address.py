"""Webhooks are named by a digest of their address, which may hold a token."""

from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """As `minipacs.notifications.outbox.name_webhook` names them; what waits is still delivered."""
    notification = sa.table("notification", sa.column("receiver", sa.String()))
    connection = op.get_bind()
    addressed = sa.select(notification.c.receiver).where(notification.c.receiver.like("webhook:http%")).distinct()
    for receiver in connection.scalars(addressed).all():
        name = "webhook:" + sha256(receiver.removeprefix("webhook:").encode()).hexdigest()[:16]
        connection.execute(notification.update().where(notification.c.receiver == receiver).values(receiver=name))


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
