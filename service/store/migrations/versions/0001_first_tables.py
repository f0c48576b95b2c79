"""The tables of 0.1.0, and the log with its first epoch."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.domain.events.position import new_epoch

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Types, lengths and conditions are written out here: a released migration does not change when `tables.py` does.
_id = sa.Uuid().with_variant(sa.String(36), "sqlite")
_moment = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")
_seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_users()
    _create_credentials()
    _create_log()
    _create_audit()
    _create_mail()
    _create_idempotency()
    _create_processes()


def downgrade() -> None:
    for table in (
        "leases",
        "runs",
        "idempotency_keys",
        "mail_tokens",
        "mails",
        "audit",
        "holds",
        "events",
        "log",
        "signing_keys",
        "secrets",
        "tickets",
        "api_tokens",
        "sessions",
        "recovery_codes",
        "users",
    ):
        op.drop_table(table)


def _create_users() -> None:
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
        sa.Column("totp_secret", sa.String(32)),
        sa.Column("totp_confirmed_at", _moment),
        sa.Column("totp_last_step", sa.Integer()),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.CheckConstraint("age BETWEEN 0 AND 150", name=op.f("ck_users_age")),
        sa.CheckConstraint("role IN ('member', 'admin')", name=op.f("ck_users_role")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index("ix_users_created_at_id", "users", ["created_at", "id"])
    op.create_index("ix_users_admins", "users", ["role", "active"])
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", _id, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "digest", name=op.f("pk_recovery_codes")),
        _references_users("recovery_codes"),
    )


def _create_credentials() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", _id, nullable=False),
        sa.Column("user_id", _id, nullable=False),
        sa.Column("secret", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", _moment, nullable=False),
        sa.Column("expires_at", _moment, nullable=False),
        sa.Column("rotated_at", _moment, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("absolute_expires_at", _moment),
        sa.Column("client", sa.String(64)),
        sa.Column("agent", sa.String(200)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        _references_users("sessions"),
    )
    op.create_index("ix_sessions_user_id_created_at", "sessions", ["user_id", "created_at"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_table(
        "api_tokens",
        sa.Column("id", _id, nullable=False),
        sa.Column("user_id", _id, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", _moment, nullable=False),
        sa.Column("expires_at", _moment),
        sa.Column("last_used_at", _moment),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_tokens_digest")),
        _references_users("api_tokens"),
    )
    op.create_index("ix_api_tokens_user_id_created_at", "api_tokens", ["user_id", "created_at"])
    op.create_index("ix_api_tokens_expires_at", "api_tokens", ["expires_at"])
    op.create_table(
        "tickets",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("session_id", _id, nullable=False),
        sa.Column("expires_at", _moment, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tickets")),
    )
    op.create_index("ix_tickets_expires_at", "tickets", ["expires_at"])
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("material", sa.Text(), nullable=False),
        sa.Column("created_at", _moment, nullable=False),
        sa.Column("signs_from", _moment, nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
    )


def _create_log() -> None:
    log = op.create_table(
        "log",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.String(32), nullable=False),
        sa.Column("seq", _seq, nullable=False),
        sa.Column("first", _seq, nullable=False),
        sa.Column("audit_sequence", _seq, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log")),
        sa.CheckConstraint("id = 1", name=op.f("ck_log_one_row")),
    )
    op.bulk_insert(log, [{"id": 1, "epoch": new_epoch(), "seq": 0, "first": 1}])
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
        sa.Column("token_id", _id),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
    )
    op.create_index("ix_events_subject_seq", "events", ["subject", "seq"])
    for name, columns, condition in (
        ("ix_events_deleted", ["subject"], "type = 'user.deleted'"),
        ("ix_events_role", ["subject", "seq"], "changed LIKE '%role%'"),
    ):
        where = sa.text(condition)
        op.create_index(name, "events", columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "holds",
        sa.Column("id", _id, nullable=False),
        sa.Column("after", _seq, nullable=False),
        sa.Column("expires_at", _moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("sequence", _seq, nullable=False, autoincrement=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("actor", _id),
        sa.Column("subject", _id),
        sa.Column("client", sa.String(64)),
        sa.Column("request_id", sa.String(64)),
        sa.Column("session_id", _id),
        sa.Column("token_id", _id),
        sa.Column("component", sa.String(16)),
        sa.Column("details", sa.Text()),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit")),
    )
    for column in ("actor", "subject", "action"):
        op.create_index(f"ix_audit_{column}_sequence", "audit", [column, "sequence"])


def _create_mail() -> None:
    op.create_table(
        "mails",
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("due_at", _moment, nullable=False),
        sa.Column("expires_at", _moment, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, server_default="waiting"),
        sa.PrimaryKeyConstraint("email", "kind", name=op.f("pk_mails")),
    )
    op.create_index("ix_mails_due_at", "mails", ["due_at"])
    op.create_table(
        "mail_tokens",
        sa.Column("user_id", _id, nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("expires_at", _moment, nullable=False),
        sa.Column("digests", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("user_id", "purpose", name=op.f("pk_mail_tokens")),
        _references_users("mail_tokens"),
    )
    op.create_index("ix_mail_tokens_expires_at", "mail_tokens", ["expires_at"])
    op.create_index("ix_mail_tokens_email", "mail_tokens", ["email"])


def _create_idempotency() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", _id, nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(32), nullable=False),
        sa.Column("expires_at", _moment, nullable=False),
        sa.Column("status", sa.SmallInteger()),
        sa.Column("headers", sa.Text()),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("subject", _id),
        sa.PrimaryKeyConstraint("user_id", "route", "key", name=op.f("pk_idempotency_keys")),
        _references_users("idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])
    op.create_index("ix_idempotency_keys_subject", "idempotency_keys", ["subject"])


def _create_processes() -> None:
    op.create_table(
        "runs",
        sa.Column("identity", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_runs")),
    )
    op.create_table(
        "leases",
        sa.Column("id", _id, nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", _moment, nullable=False),
        sa.Column("renewed_at", _moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leases")),
    )


def _references_users(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f(f"fk_{table}_user_id"), ondelete="CASCADE")
