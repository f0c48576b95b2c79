"""Which database the last run had."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("identity", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_runs")),
    )


def downgrade() -> None:
    op.drop_table("runs")
