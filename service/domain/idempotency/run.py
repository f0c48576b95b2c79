"""A use case carried out once a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from service.domain.audit import AuditSource
from service.domain.idempotency.claims import Claim, StoredResponse
from service.domain.ports import Render, Transaction, Writes, Written

T = TypeVar("T")


async def run_idempotent(
    store: Writes, claim: Claim, render: Render, act: Callable[[Writes], Awaitable[object]]
) -> tuple[StoredResponse, bool]:
    """Carry out `act` unless that was done with this key: the answer, and whether it is that of an earlier time.

    The response is stored with the change, both or neither. Run it shielded, as every write.

    Args:
        act: a use case that writes once, to what it is given.

    Raises `IdempotencyKeyReused`, `ResponseExpired`, `InvalidToken`, and what `act` raises, of which nothing is kept.
    """
    rendered: list[StoredResponse] = []

    def keep(written: Written[Any]) -> StoredResponse:
        rendered.append(render(written))
        return rendered[-1]

    try:
        await act(_Claiming(store, claim, keep))
    except AlreadyCompleted as before:
        return before.answer, True
    return rendered[-1], False


class AlreadyCompleted(Exception):
    """Leads out of the transaction, which has nothing to do any more."""

    def __init__(self, answer: StoredResponse) -> None:
        super().__init__()
        self.answer = answer


class _Claiming:
    """Writes whose transaction begins with the claim."""

    def __init__(self, store: Writes, claim: Claim, render: Render) -> None:
        self._store = store
        self._claim = claim
        self._render = render

    async def write(self, work: Callable[[Transaction], Awaitable[T]], by: AuditSource) -> Written[T]:
        async def claimed(transaction: Transaction) -> T:
            answer = await transaction.claim(self._claim, self._render)
            if answer is not None:
                raise AlreadyCompleted(answer)
            return await work(transaction)

        return await self._store.write(claimed, by)
