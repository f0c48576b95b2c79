"""The idempotency keys of SQL stores."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import and_, bindparam, cast, delete, null, select, tuple_, update

from service.domain.errors import InvalidToken, ResponseExpired
from service.domain.idempotency.claims import Claim, StoredResponse
from service.domain.ports import Render
from service.store.sql.builders import fixed
from service.store.sql.dialects import Dialect, Statement
from service.store.sql.errors import Postponed
from service.store.sql.json_codec import JSON
from service.store.sql.row_mapper import RowMapper
from service.store.sql.runner import StatementRunner
from service.store.sql.tables import idempotency_keys, users

ANSWER: Final = RowMapper(StoredResponse, idempotency_keys, codecs={"headers": JSON})


def _claim(dialect: Dialect) -> Any:
    """Take a key, unless it is remembered; another transaction that is taking it is waited for."""
    given = ("route", "key", "fingerprint", "expires_at")
    row = dialect.insert(idempotency_keys).from_select(
        ["user_id", *given],
        # Only for an existing user: the error of the foreign key could not be distinguished from others.
        select(users.c.id, *(cast(bindparam(name), idempotency_keys.c[name].type) for name in given)).where(
            users.c.id == bindparam("user_id")
        ),
    )
    renewed = {name: row.excluded[name] for name in ("fingerprint", "expires_at")}
    emptied = dict.fromkeys(("status", "headers", "body", "subject"), null())
    return row.on_conflict_do_update(
        index_elements=list(idempotency_keys.primary_key),
        set_=renewed | emptied,
        where=idempotency_keys.c.expires_at <= bindparam("now"),
    ).returning(idempotency_keys.c.key)


_OF_CLAIM: Final = and_(
    idempotency_keys.c.user_id == bindparam("user_id"),
    idempotency_keys.c.route == bindparam("route"),
    idempotency_keys.c.key == bindparam("key"),
)
CLAIM_KEY: Final = Statement(_claim)
RESPONSE: Final = fixed(select(idempotency_keys.c.fingerprint, *ANSWER.columns).where(_OF_CLAIM))
SAVE_RESPONSE: Final = fixed(
    update(idempotency_keys)
    .where(_OF_CLAIM)
    .values({column.name: bindparam(f"new_{column.name}") for column in ANSWER.columns})
)
EMPTY_RESPONSES: Final = fixed(
    update(idempotency_keys).where(idempotency_keys.c.subject == bindparam("id")).values(headers=null(), body=null())
)
# So many at once that they grow fewer, and none pays for all. Those that another transaction has taken are its own.
_EXPIRED: Final = (
    select(*idempotency_keys.primary_key)
    .where(idempotency_keys.c.expires_at <= bindparam("now"))
    .order_by(idempotency_keys.c.expires_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
DELETE_EXPIRED_KEYS: Final = fixed(delete(idempotency_keys).where(tuple_(*idempotency_keys.primary_key).in_(_EXPIRED)))


class SqlIdempotencyWrites:
    """The idempotency key of a transaction.

    Attributes:
        claimed: the key that it took, and what renders the response to be stored with it.
    """

    __slots__ = ("_connection", "claimed")

    def __init__(self, connection: StatementRunner) -> None:
        self._connection = connection
        self.claimed: tuple[Claim, Render] | None = None

    async def claim(self, claim: Claim, render: Render) -> StoredResponse | None:
        of_claim = {"user_id": claim.user_id, "route": claim.route, "key": claim.key}
        if await self._connection.rows(
            CLAIM_KEY, **of_claim, fingerprint=claim.fingerprint, expires_at=claim.expires_at, now=claim.now
        ):
            self.claimed = claim, render
            return None
        found = await self._connection.rows(RESPONSE, **of_claim)
        if not found:
            raise InvalidToken()
        fingerprint, status, _, body, _ = found[0]
        claim.check(bytes(fingerprint))
        if status is None:
            raise Postponed()
        if body is None:
            raise ResponseExpired()
        return ANSWER.from_row(found[0], self._connection.dialect, 1)
