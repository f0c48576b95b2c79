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
from service.store.sql.tables import answers, users

ANSWER: Final = RowMapper(StoredResponse, answers, codecs={"headers": JSON})


def _claim(dialect: Dialect) -> Any:
    """Take a key, unless it is remembered; another transaction that is taking it is waited for."""
    given = ("route", "key", "fingerprint", "expires_at")
    row = dialect.insert(answers).from_select(
        ["user_id", *given],
        # Only for an existing user: the error of the foreign key could not be distinguished from others.
        select(users.c.id, *(cast(bindparam(name), answers.c[name].type) for name in given)).where(
            users.c.id == bindparam("user_id")
        ),
    )
    renewed = {name: row.excluded[name] for name in ("fingerprint", "expires_at")}
    emptied = dict.fromkeys(("status", "headers", "body", "subject"), null())
    return row.on_conflict_do_update(
        index_elements=list(answers.primary_key), set_=renewed | emptied, where=answers.c.expires_at <= bindparam("now")
    ).returning(answers.c.key)


_OF_CLAIM: Final = and_(
    answers.c.user_id == bindparam("user_id"), answers.c.route == bindparam("route"), answers.c.key == bindparam("key")
)
CLAIM_KEY: Final = Statement(_claim)
RESPONSE: Final = fixed(select(answers.c.fingerprint, *ANSWER.columns).where(_OF_CLAIM))
SAVE_RESPONSE: Final = fixed(
    update(answers).where(_OF_CLAIM).values({column.name: bindparam(f"new_{column.name}") for column in ANSWER.columns})
)
EMPTY_RESPONSES: Final = fixed(
    update(answers).where(answers.c.subject == bindparam("id")).values(headers=null(), body=null())
)
# So many at once that they grow fewer, and none pays for all. Those that another transaction has taken are its own.
_EXPIRED: Final = (
    select(*answers.primary_key)
    .where(answers.c.expires_at <= bindparam("now"))
    .order_by(answers.c.expires_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
DELETE_EXPIRED_KEYS: Final = fixed(delete(answers).where(tuple_(*answers.primary_key).in_(_EXPIRED)))


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
