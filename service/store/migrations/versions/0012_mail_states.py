"""Whether a mail waits, is being sent or was sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("mails", sa.Column("state", sa.String(16), nullable=False, server_default="waiting"))


def downgrade() -> None:
    # Earlier versions would send what was sent, and know one token of each purpose.
    op.execute("DELETE FROM mails WHERE state = 'sent'")
    op.drop_column("mails", "state")
    op.execute("UPDATE mail_tokens SET digest = substr(digest, 1, 32)")
