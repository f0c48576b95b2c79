"""Sessions that end when they are not used, and where they were used last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")


def upgrade() -> None:
    # Null in sessions that there are: they end when they would have.
    op.add_column("sessions", sa.Column("ends_by", _moment))
    op.add_column("sessions", sa.Column("client", sa.String(64)))
    op.add_column("sessions", sa.Column("agent", sa.String(200)))


def downgrade() -> None:
    for column in ("agent", "client", "ends_by"):
        op.drop_column("sessions", column)
