"""The idempotency keys of SQL stores."""

from __future__ import annotations

from service.domain.errors import InvalidToken, ResponseExpired
from service.domain.idempotency.claims import Claim, StoredResponse
from service.domain.ports import Render
from service.store.sql import rows, statements
from service.store.sql.errors import Postponed
from service.store.sql.runner import StatementRunner


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
            statements.CLAIM, **of_claim, fingerprint=claim.fingerprint, expires_at=claim.expires_at, now=claim.now
        ):
            self.claimed = claim, render
            return None
        found = await self._connection.rows(statements.FIND_ANSWER, **of_claim)
        if not found:
            raise InvalidToken()
        fingerprint, status, _, body, _ = found[0]
        claim.check(bytes(fingerprint))
        if status is None:
            raise Postponed()
        if body is None:
            raise ResponseExpired()
        return rows.ANSWER.from_row(found[0], self._connection.dialect, 1)
