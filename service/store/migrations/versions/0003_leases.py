"""Leases: the processes that use the database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_id = sa.Uuid().with_variant(sa.String(36), "sqlite")
_moment = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("id", _id, nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("begun_at", _moment, nullable=False),
        sa.Column("renewed_at", _moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leases")),
    )


def downgrade() -> None:
    op.drop_table("leases")
