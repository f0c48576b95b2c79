"""The idempotency keys of the memory store."""

from __future__ import annotations

from service.domain.errors import InvalidToken
from service.domain.idempotency.claims import Claim, IdempotencyStore, StoredResponse
from service.domain.ports import Render
from service.store.memory.tables import Tables


class MemoryIdempotencyWrites:
    """The idempotency key of a transaction.

    Attributes:
        claimed: the key that it took, and what renders the response to be stored with it.
    """

    __slots__ = ("_answers", "_tables", "claimed")

    def __init__(self, tables: Tables, answers: IdempotencyStore[StoredResponse]) -> None:
        self._tables = tables
        self._answers = answers
        self.claimed: tuple[Claim, Render] | None = None

    async def claim(self, claim: Claim, render: Render) -> StoredResponse | None:
        if claim.user_id.int not in self._tables.users:
            raise InvalidToken()
        answer = self._answers.find(claim)
        if answer is None:
            self.claimed = claim, render
        return answer
