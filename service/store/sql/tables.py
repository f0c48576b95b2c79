"""The tables of every SQL store. Constraints state what must always hold, so that no program can break it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    text,
)

from service.domain import audit as audit_rules
from service.domain.auth import api_token as token_rules
from service.domain.auth import sessions as session_rules
from service.domain.auth import signing_key, totp
from service.domain.idempotency.claims import KEY_MAX
from service.domain.users import user as rules

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite has neither type: texts there, in forms that sort as the values do (`dialects.py`).
_Id = Uuid(as_uuid=True).with_variant(String(36), "sqlite")
_Moment = DateTime(timezone=True).with_variant(String(27), "sqlite")
_Seq = BigInteger().with_variant(Integer, "sqlite")

log = Table(
    "log",
    metadata,
    Column("id", SmallInteger, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
    Column("epoch", String(32), nullable=False),
    Column("seq", _Seq, nullable=False),  # of the last event
    Column("first", _Seq, nullable=False),  # of the oldest that is kept; seq + 1 when none is
    Column("audit_sequence", _Seq, nullable=False, server_default="0"),  # of the last entry of the audit
)

users = Table(
    "users",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("username", String(rules.USERNAME_MAX), nullable=False, unique=True),
    Column("email", String(rules.EMAIL_MAX), nullable=False, unique=True),
    Column("name", String(rules.NAME_MAX), nullable=False),
    Column("age", SmallInteger),
    Column("role", String(16), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_at", _Moment, nullable=False),
    Column("updated_at", _Moment, nullable=False),
    Column("version", _Seq, nullable=False),
    Column("password_hash", Text),
    # Beside the password: who reads or locks one has the other as well, and a login asks nothing more.
    Column("totp_secret", String(totp.SECRET_MAX)),
    Column("totp_confirmed_at", _Moment),  # null while it is only begun
    Column("totp_last_step", Integer),  # of the newest code that was taken
    # What a search looks through, folded: neither database folds as Python does.
    Column("search_text", Text, nullable=False),
    CheckConstraint(f"age BETWEEN 0 AND {rules.AGE_MAX}", name="age"),
    CheckConstraint("role IN ('member', 'admin')", name="role"),
    Index(None, "created_at", "id"),
    Index("ix_users_admins", "role", "active"),
    # A user is inserted before its version is known: with room beside it the second write touches no index (HOT).
    postgresql_with={"fillfactor": 50},
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("secret", LargeBinary(32), nullable=False),
    Column("created_at", _Moment, nullable=False),
    Column("expires_at", _Moment, nullable=False),
    Column("rotated_at", _Moment, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("absolute_expires_at", _Moment),
    Column("client", String(session_rules.CLIENT_MAX)),
    Column("agent", String(session_rules.AGENT_MAX)),
    Index(None, "user_id", "created_at"),
    Index(None, "expires_at"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(token_rules.NAME_MAX), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("prefix", String(16), nullable=False),
    Column("scopes", Text, nullable=False),  # with spaces between
    Column("created_at", _Moment, nullable=False),
    Column("expires_at", _Moment),
    Column("last_used_at", _Moment),
    Index(None, "user_id", "created_at"),
    Index(None, "expires_at"),
)

# Conditions of partial indexes: an index is used where a statement has the same text.
DELETION: Final = "type = 'user.deleted'"
ROLE_CHANGE: Final = "changed LIKE '%role%'"

events = Table(
    "events",
    metadata,
    Column("seq", _Seq, primary_key=True, autoincrement=False),
    Column("type", String(32), nullable=False),
    Column("time", _Moment, nullable=False),
    Column("actor", _Id),
    Column("subject", _Id, nullable=False),
    Column("user", Text),  # as JSON; null for other types, and once the user was deleted
    Column("changed", Text, nullable=False),  # names with commas between
    Column("session_id", _Id),
    Column("reason", String(32)),
    Column("token_id", _Id),
    Index(None, "subject", "seq"),
    # Partial: few rows, so that writes of other events stay as cheap. Statements must repeat the condition word by word.
    Index("ix_events_deleted", "subject", sqlite_where=text(DELETION), postgresql_where=text(DELETION)),
    Index("ix_events_role", "subject", "seq", sqlite_where=text(ROLE_CHANGE), postgresql_where=text(ROLE_CHANGE)),
)

# Rows never change, and refer to no other table: an entry about a user outlives the user.
audit = Table(
    "audit",
    metadata,
    Column("sequence", _Seq, primary_key=True, autoincrement=False),
    Column("action", String(32), nullable=False),
    Column("actor", _Id),
    Column("subject", _Id),
    Column("client", String(session_rules.CLIENT_MAX)),
    Column("request_id", String(audit_rules.REQUEST_ID_MAX)),
    Column("session_id", _Id),
    Column("token_id", _Id),
    Column("component", String(16)),
    Column("details", Text),  # as JSON; null for none
    Index(None, "actor", "sequence"),
    Index(None, "subject", "sequence"),
    Index(None, "action", "sequence"),
)

# Up to where the log may not be trimmed, for whom, and how long that is believed.
holds = Table(
    "holds",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("after", _Seq, nullable=False),
    Column("expires_at", _Moment, nullable=False),
    info={"copied": False},
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(64), nullable=False),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", String(signing_key.KID_MAX), primary_key=True),
    Column("algorithm", String(16), nullable=False),
    Column("material", Text, nullable=False),
    Column("created_at", _Moment, nullable=False),
    Column("signs_from", _Moment, nullable=False),
)

tickets = Table(
    "tickets",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("session_id", _Id, nullable=False),
    Column("expires_at", _Moment, nullable=False),
    Index(None, "expires_at"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("route", Text, primary_key=True),
    Column("key", String(KEY_MAX), primary_key=True),
    Column("fingerprint", LargeBinary(32), nullable=False),
    Column("expires_at", _Moment, nullable=False),
    Column("status", SmallInteger),  # null until the transaction that took the key knows its seqs
    Column("headers", Text),  # as JSON
    Column("body", LargeBinary),  # null again once the user in it was deleted
    Column("subject", _Id),
    Index(None, "expires_at"),
    Index(None, "subject"),
)

# A mail is sent once, from where it was asked for: what is made of a backup sends none again.
mails = Table(
    "mails",
    metadata,
    Column("email", String(rules.EMAIL_MAX), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("due_at", _Moment, nullable=False),
    Column("expires_at", _Moment, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("state", String(16), nullable=False, server_default="waiting"),
    Index(None, "due_at"),
    info={"copied": False},
)

mail_tokens = Table(
    "mail_tokens",
    metadata,
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("purpose", String(16), primary_key=True),
    Column("email", String(rules.EMAIL_MAX), nullable=False),
    Column("expires_at", _Moment, nullable=False),
    # SHA-256 of each token that was mailed and is still valid, the newest first, one after the other; null for none.
    Column("digests", LargeBinary),
    Index(None, "expires_at"),
    Index(None, "email"),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),
)

# Which database the last run had: no more than one row, which no copy takes along.
runs = Table("runs", metadata, Column("identity", String(128), primary_key=True), info={"copied": False})

# Processes that use the database, by its own clock.
leases = Table(
    "leases",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", _Moment, nullable=False),
    Column("renewed_at", _Moment, nullable=False),
    info={"copied": False},
)
