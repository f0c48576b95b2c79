"""Indexes of deletions and of changed roles, so that neither question walks through a user's events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_INDEXES = (
    ("ix_events_deleted", ["subject"], "type = 'user.deleted'"),
    ("ix_events_role", ["subject", "seq"], "changed LIKE '%role%'"),
)


def upgrade() -> None:
    for name, columns, condition in _INDEXES:
        where = sa.text(condition)
        op.create_index(name, "events", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, _, _ in _INDEXES:
        op.drop_index(name, "events")
