"""Helpers for the contract of stores; they use the ports and no store."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Session
from service.domain.events.event import Event
from service.domain.events.query import EventQuery
from service.domain.ports import Store, Transaction
from service.domain.users.user import User
from tests.support.clock import ManualClock
from tests.support.domain import BY

T = TypeVar("T")


class Opener(Protocol):
    """Opens an empty store; `keep_events` bounds its log."""

    def __call__(self, clock: ManualClock, *, keep_events: int = ...) -> AbstractAsyncContextManager[Store]: ...


class Broken(Exception):
    """An error of a write itself."""


def a_session(user: User, now: datetime, **fields: Any) -> Session:
    made = Session(uuid.uuid4(), user.id, uuid.uuid4().bytes * 2, now, now + timedelta(days=30), now)
    return replace(made, **fields)


async def keep_session(store: Store, *sessions: Session) -> None:
    async def work(transaction: Transaction) -> None:
        for session in sessions:
            await transaction.sessions.save(session)

    await store.write(work, BY)


def a_token(user: User, now: datetime, **fields: Any) -> ApiToken:
    made = ApiToken(
        id=uuid.uuid4(),
        user_id=user.id,
        name="a program",
        digest=uuid.uuid4().bytes * 2,
        prefix="roster_Ab3d",
        scopes=frozenset({"users:read"}),
        created_at=now,
        expires_at=now + timedelta(days=30),
    )
    return replace(made, **fields)


async def keep_token(store: Store, *tokens: ApiToken) -> None:
    async def work(transaction: Transaction) -> None:
        for token in tokens:
            await transaction.api_tokens.create(token)

    await store.write(work, BY)


async def erase(store: Store, user: User) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.users.delete(user.id)
        await transaction.events.append(Event("user.deleted", user.updated_at, None, user.id))

    await store.write(work, BY)


async def ask(store: Store, question: Callable[[Transaction], Awaitable[T]]) -> T:
    """The view of a transaction that only reads."""
    return (await store.write(question, BY)).value


async def whole_log(store: Store, page: int = 1000, **query: Any) -> list[Event]:
    """Every event that is held, read page by page as a follower does."""
    found: list[Event] = []
    after = 0
    while True:
        events = await store.events.list_page(EventQuery(after, page, **query))
        found += events.events
        assert events.seen > after or not events.events
        after = events.seen
        if after >= min(events.position.seq, query.get("until") or events.position.seq):
            return found
