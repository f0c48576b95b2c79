"""Mails that wait to be sent, and the tokens that they carry."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_id = sa.Uuid().with_variant(sa.String(36), "sqlite")
_moment = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")


def upgrade() -> None:
    op.create_table(
        "mails",
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("due_at", _moment, nullable=False),
        sa.Column("expires_at", _moment, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("email", "kind", name=op.f("pk_mails")),
    )
    op.create_index("ix_mails_due_at", "mails", ["due_at"])
    op.create_table(
        "mail_tokens",
        sa.Column("user_id", _id, nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("expires_at", _moment, nullable=False),
        sa.Column("digest", sa.LargeBinary(32)),
        sa.PrimaryKeyConstraint("user_id", "purpose", name=op.f("pk_mail_tokens")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_mail_tokens_user_id"), ondelete="CASCADE"),
    )
    op.create_index("ix_mail_tokens_expires_at", "mail_tokens", ["expires_at"])


def downgrade() -> None:
    op.drop_table("mail_tokens")
    op.drop_table("mails")
