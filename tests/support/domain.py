"""Helpers for tests of rules: a hasher that takes no time, and users with the fields that a test needs."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import uuid_utils.compat

from service.domain.audit import AuditSource
from service.domain.auth.login_throttle import Attempt
from service.domain.errors import FailureKind
from service.domain.events.event import Event
from service.domain.ports import Store, Transaction, Written
from service.domain.users.accounts import Caller
from service.domain.users.user import User

T = TypeVar("T")

_numbers = itertools.count(1)

BY: Final = AuditSource("192.0.2.7", "a-request-of-tests")


class PlainHasher:
    """Keeps `Hasher` without hiding anything. It also knows hashes that are `old`.

    Attributes:
        hashed, verified: passwords it was asked about, in order.
        before_verify, before_hash: called, if set, before each answer: what may happen while a real hash is computed.
    """

    def __init__(self) -> None:
        self.hashed: list[str] = []
        self.verified: list[str] = []
        self.before_verify: Callable[[], Awaitable[object]] | None = None
        self.before_hash: Callable[[], Awaitable[object]] | None = None

    async def hash(self, password: str) -> str:
        self.hashed.append(password)
        if self.before_hash is not None:
            await self.before_hash()
        return f"hash of {password}"

    async def verify(self, password_hash: str | None, password: str) -> bool:
        self.verified.append(password)
        if self.before_verify is not None:
            await self.before_verify()
        return password_hash in (f"hash of {password}", f"old hash of {password}")

    def is_outdated(self, password_hash: str) -> bool:
        return not password_hash.startswith("hash of ")

    def close(self) -> None: ...


def a_user(**fields: Any) -> User:
    """A user that no other has anything in common with, but for the fields given."""
    number = next(_numbers)
    when = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    made: dict[str, Any] = {
        "id": uuid_utils.compat.uuid7(),
        "username": f"user{number}",
        "email": f"user{number}@example.com",
        "name": "",
        "age": None,
        "role": "member",
        "active": True,
        "created_at": when,
        "updated_at": when,
    }
    return User(**(made | fields))


def created(user: User, actor: UUID | None = None) -> Event:
    return Event("user.created", user.created_at, actor or user.id, user.id, user)


def updated(user: User, *changed: str) -> Event:
    return Event("user.updated", user.updated_at, user.id, user.id, user, changed)


def caller(user: User) -> Caller:
    return Caller(user.id, user.role)


async def keep(store: Store, *users: User) -> Written[None]:
    """Have the store hold these users, each with its event, in one write."""

    async def work(transaction: Transaction) -> None:
        for user in users:
            await transaction.users.save(user)
            await transaction.events.append(created(user))

    return await store.write(work, BY)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run to its end what never waits: nothing on the memory store does."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("it waited")


class OpenThrottle:
    """A login throttle that admits every attempt, and what each ended as."""

    def __init__(self) -> None:
        self.ended: list[tuple[UUID | str, str]] = []

    @asynccontextmanager
    async def admit(self, account: UUID | str, client: str) -> AsyncIterator[Attempt]:
        attempt = _OpenAttempt()
        try:
            yield attempt
        finally:
            self.ended.append((account, attempt.end))

    async def reopen(self, account: UUID, client: str, *, forgive: bool) -> None:
        pass


class _OpenAttempt:
    end = "neither"

    def failed(self, kind: FailureKind) -> None:
        self.end = kind

    def succeeded(self) -> None:
        self.end = "succeeded"
