"""Tokens by the address that they are sent to."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_mail_tokens_email", "mail_tokens", ["email"])


def downgrade() -> None:
    op.drop_index("ix_mail_tokens_email")
