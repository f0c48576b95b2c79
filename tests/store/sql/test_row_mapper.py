"""Rows are mapped by the names of columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.domain.audit import AuditEntry, AuditSource
from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Origin, Session
from service.domain.auth.signing_key import SigningKey
from service.domain.auth.totp import SecondFactor
from service.domain.events.event import Event
from service.domain.idempotency.claims import StoredResponse
from service.domain.mail.mail import Mail, MailToken
from service.store.sql import tables
from service.store.sql.api_tokens import TOKEN
from service.store.sql.audit import ENTRY
from service.store.sql.dialects import POSTGRES, SQLITE, Dialect
from service.store.sql.event_pages import EVENT
from service.store.sql.idempotency import ANSWER
from service.store.sql.keys import SIGNING_KEY
from service.store.sql.mail_tokens import MAIL_TOKEN
from service.store.sql.mails import MAIL
from service.store.sql.row_mapper import RowMapper
from service.store.sql.second_factors import SECOND_FACTOR
from service.store.sql.sessions import SESSION
from service.store.sql.user_statements import USER
from tests.support.domain import a_user

NOW = datetime(2026, 11, 21, 9, 30, 0, 123456, UTC)
ID, OWNER = uuid4(), uuid4()
ADA = a_user()
SOURCE = AuditSource("192.0.2.1", "request", session_id=ID)


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRES], ids=["sqlite", "postgres"])
@pytest.mark.parametrize(
    ("mapper", "value"),
    [
        (USER, replace(ADA, age=None)),
        (USER, replace(ADA, active=False, age=30)),
        (SECOND_FACTOR, SecondFactor("SECRET")),
        (SECOND_FACTOR, SecondFactor("SECRET", NOW, 3)),
        (SESSION, Session(ID, OWNER, b"s" * 32, NOW, NOW, NOW)),
        (SESSION, Session(ID, OWNER, b"s" * 32, NOW, NOW, NOW, 2, NOW, Origin("192.0.2.1", "curl"))),
        (SIGNING_KEY, SigningKey("kid", "HS256", "material", NOW, NOW)),
        (TOKEN, ApiToken(ID, OWNER, "ci", b"d" * 32, "roster_a", frozenset({"users:read"}), NOW, None)),
        (MAIL, Mail("reset", "ada@example.com", NOW, NOW, 2, "sending")),
        (MAIL_TOKEN, MailToken(OWNER, "reset", "ada@example.com", NOW)),
        (MAIL_TOKEN, MailToken(OWNER, "reset", "ada@example.com", NOW, (b"a" * 32, b"b" * 32))),
        (EVENT, Event("user.updated", NOW, None, OWNER, ADA, ("name", "role"), seq=7)),
        (EVENT, Event("session.ended", NOW, ID, OWNER, session_id=ID, reason="logout", seq=8)),
        (ENTRY, AuditEntry("user.created", None, OWNER, AuditSource(), None, 5)),
        (ENTRY, AuditEntry("session.started", ID, OWNER, SOURCE, {"a": 1}, 6)),
        (ANSWER, StoredResponse(201, {"ETag": '"1"'}, b"{}", OWNER)),
    ],
)
def test_value_survives_the_database(mapper: RowMapper[Any], value: Any, dialect: Dialect) -> None:
    """A value that is written to a row is read back as an equal value, wherever the row begins."""
    given = mapper.to_row(value)
    row = [_in_database(given[column.name], dialect) for column in mapper.columns]
    assert mapper.from_row(row, dialect) == value
    assert mapper.from_row(["before", *row, "after"], dialect, 1) == value


def test_columns_are_found_by_name() -> None:
    """The order of fields, not that of the table, is the order of columns; a field without a column is an error."""

    @dataclass(frozen=True)
    class Turned:
        username: str
        id: UUID

    @dataclass(frozen=True)
    class Stranger:
        height: int

    mapper = RowMapper(Turned, tables.users)
    assert [column.name for column in mapper.columns] == ["username", "id"]
    assert mapper.from_row(("ada", str(ID)), SQLITE) == Turned("ada", ID)
    assert mapper.index("id") == 1
    with pytest.raises(KeyError, match="height"):
        RowMapper(Stranger, tables.users)


def _in_database(value: Any, dialect: Dialect) -> Any:
    convert = dialect.to_sql.get(type(value))
    return value if convert is None else convert(value)
