"""Several keys of access tokens, one after the other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")


def upgrade() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("material", sa.Text(), nullable=False),
        sa.Column("created_at", _moment, nullable=False),
        sa.Column("signs_from", _moment, nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
    )
    # The single old key: tokens name their key from now on, and a refresh renews the old ones.
    op.execute("DELETE FROM secrets WHERE name = 'tokens'")


def downgrade() -> None:
    op.drop_table("signing_keys")
