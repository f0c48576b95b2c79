"""The promises of every store about API tokens."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from service.domain.auth import scopes
from service.domain.auth.api_token import ApiToken
from service.domain.events.event import Event
from service.domain.ports import Store, Transaction
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, keep
from tests.support.stores import Broken, a_token, ask, erase, keep_token, whole_log


async def drop(store: Store, token: ApiToken) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.api_tokens.delete(token.id)

    await store.write(work, BY)


async def test_token_that_is_not_there_is_none(store: Store, clock: ManualClock) -> None:
    """Unknown tokens are None, read or inside a write, and nothing about them is harmful."""
    nobody = uuid.uuid4()
    assert await store.api_tokens.find_with_user(b"x" * 32) is None
    assert list(await store.api_tokens.list_of_user(nobody)) == []
    assert await ask(store, lambda transaction: transaction.api_tokens.find(nobody)) is None
    assert list(await ask(store, lambda transaction: transaction.api_tokens.list_of_user(nobody))) == []
    await store.api_tokens.record_uses({nobody: clock()})
    await drop(store, a_token(a_user(), clock()))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"expires_at": None, "scopes": frozenset(scopes.GRANTABLE)},
        {"name": "Zoë 🦊 'x'; --", "digest": bytes(range(32)), "scopes": frozenset({"rooms:read", "tokens"})},
    ],
)
async def test_token_comes_back_as_it_went_in(store: Store, clock: ManualClock, fields: dict[str, Any]) -> None:
    """By its digest with its user as it is now, by its id inside a write, and in its user's list."""
    clock.advance(0.000001)
    ada = a_user()
    await keep(store, ada)
    token = a_token(ada, clock(), **fields)
    await keep_token(store, token, a_token(ada, clock() + timedelta(seconds=1)))

    assert await store.api_tokens.find_with_user(token.digest) == (token, ada.at(1))
    assert await ask(store, lambda transaction: transaction.api_tokens.find(token.id)) == token
    assert (await store.api_tokens.list_of_user(ada.id))[0] == token


async def test_tokens_of_a_user_are_its_own(store: Store, clock: ManualClock) -> None:
    """A user's tokens are listed without others', the oldest first, in whatever order they were kept."""
    ada, bob = a_user(), a_user()
    await keep(store, ada, bob)
    tokens = []
    for user in (ada, bob, ada, ada):
        tokens.append(a_token(user, clock(), expires_at=None))
        clock.advance(1)
    await keep_token(store, *reversed(tokens))

    async def work(transaction: Transaction) -> Sequence[ApiToken]:
        await transaction.api_tokens.delete(tokens[2].id)
        return await transaction.api_tokens.list_of_user(ada.id)

    assert list(await ask(store, work)) == [tokens[0], tokens[3]]
    assert list(await store.api_tokens.list_of_user(ada.id)) == [tokens[0], tokens[3]]
    assert list(await store.api_tokens.list_of_user(bob.id)) == [tokens[1]]
    assert await store.api_tokens.find_with_user(tokens[2].digest) is None


async def test_token_lasts_until_it_expires(store: Store, clock: ManualClock) -> None:
    """Up to its last microsecond a token is there, and from then on it is not; the next one made takes its place."""
    ada = a_user()
    await keep(store, ada)
    short, endless = a_token(ada, clock()), a_token(ada, clock(), expires_at=None)
    await keep_token(store, short, endless)
    clock.advance(timedelta(days=30).total_seconds() - 0.000001)
    assert await store.api_tokens.find_with_user(short.digest) is not None

    clock.advance(0.000001)
    assert await store.api_tokens.find_with_user(short.digest) is None
    await keep_token(store, later := a_token(ada, clock()))
    assert await store.api_tokens.list_of_user(ada.id) == [endless, later]


async def test_token_without_user_is_none(store: Store, clock: ManualClock) -> None:
    """A token is gone as soon as its user is."""
    ada = a_user()
    await keep(store, ada)
    token = a_token(ada, clock())
    await keep_token(store, token)
    await erase(store, ada)

    assert await store.api_tokens.find_with_user(token.digest) is None


async def test_failed_write_leaves_tokens_as_they_were(store: Store, clock: ManualClock) -> None:
    """A token of a write that fails does not exist, and one that it revoked does."""
    ada = a_user()
    await keep(store, ada)
    kept, made = a_token(ada, clock()), a_token(ada, clock())
    await keep_token(store, kept)

    async def work(transaction: Transaction) -> None:
        await transaction.api_tokens.create(made)
        await transaction.api_tokens.delete(kept.id)
        raise Broken()

    with pytest.raises(Broken):
        await store.write(work, BY)
    assert await store.api_tokens.list_of_user(ada.id) == [kept]
    assert await store.api_tokens.find_with_user(made.digest) is None


async def test_last_use_never_goes_back(store: Store, clock: ManualClock) -> None:
    """Of several moments, in whatever order processes tell them, the latest is kept; no event is made of it."""
    ada = a_user()
    await keep(store, ada)
    one, other = a_token(ada, clock()), a_token(ada, clock() + timedelta(seconds=1))
    await keep_token(store, one, other)
    before = await store.events.read_position()
    first, second = clock() + timedelta(minutes=1), clock() + timedelta(minutes=2)
    await store.api_tokens.record_uses({one.id: second, other.id: first})
    await store.api_tokens.record_uses({one.id: first})

    assert [token.last_used_at for token in await store.api_tokens.list_of_user(ada.id)] == [second, first]
    assert await store.events.read_position() == before


async def test_end_of_a_token_is_an_event(store: Store, clock: ManualClock) -> None:
    """The log tells which token ended, and goes on telling it once its user is gone."""
    ada = a_user()
    await keep(store, ada)
    ended = Event("token.ended", clock(), ada.id, ada.id, token_id=uuid.uuid4(), reason="revoked")

    async def work(transaction: Transaction) -> None:
        await transaction.events.append(ended)

    await store.write(work, BY)
    await erase(store, ada)
    assert (await whole_log(store))[1] == ended.at(2)
