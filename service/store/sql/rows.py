"""The rows of each table, as values of the domain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from service.domain.audit import AuditEntry, AuditSource
from service.domain.auth import scopes
from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Origin, Session
from service.domain.auth.signing_key import SigningKey
from service.domain.auth.totp import SecondFactor
from service.domain.events.event import Event
from service.domain.idempotency.claims import StoredResponse
from service.domain.mail.mail import Mail, MailToken, join_digests, split_digests
from service.domain.users.user import Credentials, User
from service.store.sql import tables
from service.store.sql.dialects import Dialect
from service.store.sql.row_mapper import Codec, Row, RowMapper

_USER_JSON: Final = TypeAdapter(User)


def _encode_user(user: User | None) -> str | None:
    return None if user is None else _USER_JSON.dump_json(user).decode()


def _decode_user(text: str | None) -> User | None:
    return None if text is None else _USER_JSON.validate_json(text)


def _encode_json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value))


def _decode_json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


_JSON: Final = Codec(_encode_json, _decode_json)

USER: Final = RowMapper(User, tables.users)
SECOND_FACTOR: Final = RowMapper(
    SecondFactor,
    tables.users,
    renamed={"secret": "totp_secret", "since": "totp_since", "last_step": "totp_step"},
)
SESSION: Final = RowMapper(
    Session, tables.sessions, renamed={"absolute_expires_at": "ends_by"}, nested={"origin": Origin}
)
SIGNING_KEY: Final = RowMapper(SigningKey, tables.signing_keys)
TOKEN: Final = RowMapper(
    ApiToken,
    tables.tokens,
    codecs={"scopes": Codec(scopes.written, lambda text: scopes.read(text, "admin"))},
)
MAIL: Final = RowMapper(Mail, tables.mails)
MAIL_TOKEN: Final = RowMapper(
    MailToken, tables.mail_tokens, renamed={"digests": "digest"}, codecs={"digest": Codec(join_digests, split_digests)}
)
EVENT: Final = RowMapper(
    Event,
    tables.events,
    codecs={
        "user": Codec(_encode_user, _decode_user),
        "changed": Codec(",".join, lambda text: tuple(text.split(",")) if text else ()),
    },
)
ENTRY: Final = RowMapper(AuditEntry, tables.audit, nested={"by": AuditSource}, codecs={"details": _JSON})
ANSWER: Final = RowMapper(StoredResponse, tables.answers, codecs={"headers": _JSON})

CREDENTIALS: Final = [*USER.columns, tables.users.c.password_hash, *SECOND_FACTOR.columns]
_PASSWORD: Final = len(USER.columns)


def read_credentials(row: Row, dialect: Dialect) -> Credentials:
    """From the columns of `CREDENTIALS`."""
    factor = read_second_factor(row, dialect, _PASSWORD + 1)
    return Credentials(USER.from_row(row, dialect), row[_PASSWORD], factor)


def read_second_factor(row: Row, dialect: Dialect, start: int = 0) -> SecondFactor | None:
    """From the columns of `SECOND_FACTOR`, which are null for a user without one."""
    return None if row[start] is None else SECOND_FACTOR.from_row(row, dialect, start)


def user_row(user: User) -> dict[str, Any]:
    return USER.to_row(user) | {"folded": folded(user)}


def folded(user: User) -> str:
    """The text that a search looks through. Line breaks, which none of the three has, keep a match inside one of them."""
    return f"{user.username}\n{user.email.casefold()}\n{user.name.casefold()}"


def new_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Values of an UPDATE, whose parameters may not have the names of its columns."""
    return {f"new_{name}": value for name, value in row.items()}
