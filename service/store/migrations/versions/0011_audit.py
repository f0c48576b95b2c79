"""The audit, and where it ends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_id = sa.Uuid().with_variant(sa.String(36), "sqlite")
_seq = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.add_column("log", sa.Column("audited", _seq, nullable=False, server_default="0"))
    op.create_table(
        "audit",
        sa.Column("place", _seq, nullable=False, autoincrement=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("actor", _id),
        sa.Column("subject", _id),
        sa.Column("client", sa.String(64)),
        sa.Column("request_id", sa.String(64)),
        sa.Column("session_id", _id),
        sa.Column("token_id", _id),
        sa.Column("part", sa.String(16)),
        sa.Column("details", sa.Text()),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_audit")),
    )
    for column in ("actor", "subject", "action"):
        op.create_index(f"ix_audit_{column}_place", "audit", [column, "place"])


def downgrade() -> None:
    op.drop_table("audit")
    op.drop_column("log", "audited")
