"""Those for whose sake the log is kept longer, and room beside users for their versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_id = sa.Uuid().with_variant(sa.String(36), "sqlite")
_moment = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")
_seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("id", _id, nullable=False),
        sa.Column("after", _seq, nullable=False),
        sa.Column("expires_at", _moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE users SET (fillfactor = 50)")  # of pages that are written from now on


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE users RESET (fillfactor)")
    op.drop_table("holds")
