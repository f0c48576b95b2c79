"""Accounts, sessions, tickets, secrets, and the log with its first epoch."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.domain.events.position import new_epoch

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# As they were then: what is written here does not change when the tables do.
_id = sa.Uuid().with_variant(sa.String(36), "sqlite")
_moment = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")
_seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    log = op.create_table(
        "log",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.String(32), nullable=False),
        sa.Column("seq", _seq, nullable=False),
        sa.Column("first", _seq, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log")),
        sa.CheckConstraint("id = 1", name=op.f("ck_log_one_row")),
    )
    op.bulk_insert(log, [{"id": 1, "epoch": new_epoch(), "seq": 0, "first": 1}])
    op.create_table(
        "users",
        sa.Column("id", _id, nullable=False),
        sa.Column("username", sa.String(32), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("age", sa.SmallInteger()),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", _moment, nullable=False),
        sa.Column("updated_at", _moment, nullable=False),
        sa.Column("version", _seq, nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.CheckConstraint("age BETWEEN 0 AND 150", name=op.f("ck_users_age")),
        sa.CheckConstraint("role IN ('member', 'admin')", name=op.f("ck_users_role")),
    )
    op.create_index("ix_users_created_at_id", "users", ["created_at", "id"])
    op.create_index("ix_users_admins", "users", ["role", "active"])
    op.create_table(
        "sessions",
        sa.Column("id", _id, nullable=False),
        sa.Column("user_id", _id, nullable=False),
        sa.Column("secret", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", _moment, nullable=False),
        sa.Column("expires_at", _moment, nullable=False),
        sa.Column("rotated_at", _moment, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id"), ondelete="CASCADE"),
    )
    op.create_index("ix_sessions_user_id_created_at", "sessions", ["user_id", "created_at"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_table(
        "events",
        sa.Column("seq", _seq, autoincrement=False, nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("time", _moment, nullable=False),
        sa.Column("actor", _id),
        sa.Column("subject", _id, nullable=False),
        sa.Column("user", sa.Text()),
        sa.Column("changed", sa.Text(), nullable=False),
        sa.Column("session_id", _id),
        sa.Column("reason", sa.String(32)),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
    )
    op.create_index("ix_events_subject_seq", "events", ["subject", "seq"])
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
    op.create_table(
        "tickets",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("session_id", _id, nullable=False),
        sa.Column("expires_at", _moment, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tickets")),
    )
    op.create_index("ix_tickets_expires_at", "tickets", ["expires_at"])


def downgrade() -> None:
    for table in ("tickets", "secrets", "events", "sessions", "users", "log"):
        op.drop_table(table)
