"""Runs a use case at most once per idempotency key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from service.domain.audit import AuditSource
from service.domain.idempotency.claims import Claim, StoredResponse
from service.domain.ports import Render, Transaction, TransactionRunner, Written

T = TypeVar("T")


async def run_idempotent(
    store: TransactionRunner, claim: Claim, render: Render, act: Callable[[TransactionRunner], Awaitable[object]]
) -> tuple[StoredResponse, bool]:
    """Run `act` unless this key was used before. Returns the response, and whether it is a stored one.

    The response is stored in the transaction of the change: both exist, or neither. Run it shielded, as every write.

    Args:
        act: a use case that writes once, to the store that it receives.

    Raises `IdempotencyKeyReused`, `ResponseExpired`, `InvalidToken`, and the errors of `act`, after which nothing is stored.
    """
    rendered: list[StoredResponse] = []

    def keep(written: Written[Any]) -> StoredResponse:
        rendered.append(render(written))
        return rendered[-1]

    try:
        await act(_Claiming(store, claim, keep))
    except AlreadyCompleted as earlier:
        return earlier.response, True
    return rendered[-1], False


class AlreadyCompleted(Exception):
    """Ends a transaction whose key was used before; carries the stored response."""

    def __init__(self, response: StoredResponse) -> None:
        super().__init__()
        self.response = response


class _Claiming:
    """A store whose write begins with the claim."""

    def __init__(self, store: TransactionRunner, claim: Claim, render: Render) -> None:
        self._store = store
        self._claim = claim
        self._render = render

    async def write(self, work: Callable[[Transaction], Awaitable[T]], by: AuditSource) -> Written[T]:
        async def claimed(transaction: Transaction) -> T:
            response = await transaction.idempotency.claim(self._claim, self._render)
            if response is not None:
                raise AlreadyCompleted(response)
            return await work(transaction)

        return await self._store.write(claimed, by)
