"""Making API tokens and ending them."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from service.domain.auth import api_tokens
from service.domain.auth.api_token import MOST_TOKENS, ApiToken
from service.domain.auth.api_tokens import Maker, NewToken
from service.domain.auth.scopes import of
from service.domain.errors import Conflict, Forbidden, InsufficientScope, InvalidToken, NotFound
from service.domain.users import accounts
from service.domain.users.accounts import Caller, Change
from service.domain.users.user import User
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, PlainHasher, a_user, caller, keep
from tests.support.stores import a_session, a_token, keep_session, keep_token, whole_log


class World:
    """A user who is logged in."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.ada = a_user(role="admin")
        self.session = a_session(self.ada, self.clock())

    def maker(self, **fields: Any) -> Maker:
        made = Maker(self.ada.id, "admin", self.session.id, of("admin"))
        return replace(made, **fields)

    def new(self, **fields: Any) -> NewToken:
        made = NewToken("a program", uuid.uuid4().bytes * 2, "roster_Ab3d", frozenset({"users:read"}), None)
        return replace(made, **fields)

    async def make(self, new: NewToken | None = None, **maker: Any) -> ApiToken:
        return await api_tokens.make(self.store, self.clock, BY, self.maker(**maker), new or self.new())

    async def tokens(self, by: Caller | None = None, of_user: UUID | None = None) -> list[ApiToken]:
        user_id = of_user or self.ada.id
        return list(await api_tokens.tokens_of(self.store, self.clock, by or caller(self.ada), user_id))

    async def revoke(self, token: ApiToken, by: User) -> None:
        await api_tokens.revoke(self.store, self.clock, BY, caller(by), token.id)


@pytest.fixture
async def world() -> World:
    world = World()
    await keep(world.store, world.ada, a_user(role="admin"))
    await keep_session(world.store, world.session)
    return world


async def test_token_is_kept_as_it_was_asked_for(world: World) -> None:
    """It is its maker's, made now, never used, and no event tells of it."""
    before = await world.store.events.read_position()
    new = world.new(expires_at=world.clock() + timedelta(days=1))
    made = await world.make(new)

    assert await world.tokens() == [made]
    assert (made.user_id, made.created_at, made.last_used_at) == (world.ada.id, world.clock(), None)
    assert (made.name, made.digest, made.prefix) == (new.name, new.digest, new.prefix)
    assert (made.scopes, made.expires_at) == (new.scopes, new.expires_at)
    assert await world.store.events.read_position() == before


async def test_token_has_no_more_rights_than_its_creator(world: World) -> None:
    """A token with more than its maker's scopes is refused, and what is missing is named."""
    new = world.new(scopes=frozenset({"users:write", "users:read", "tokens"}))
    with pytest.raises(InsufficientScope) as refused:
        await world.make(new, scopes=frozenset({"users:read"}))

    assert refused.value.scope == "users:write tokens"
    assert await world.tokens() == []


async def test_member_makes_no_token_for_administrators(world: World) -> None:
    """No credentials of a member can have the scope, and the error says so."""
    with pytest.raises(Forbidden) as refused:
        await world.make(world.new(scopes=frozenset({"audit:read", "tokens"})), role="member", scopes=of("member"))

    assert not isinstance(refused.value, InsufficientScope)


@pytest.mark.parametrize(("days", "expected"), [(1, 1), (30, 10), (None, 10)])
async def test_nothing_outlives_the_token_that_made_it(world: World, days: int | None, expected: int) -> None:
    """Made with an API token of ten days, a token ends in ten days at most, also when none was asked for."""
    now = world.clock()
    parent = a_token(world.ada, now, expires_at=now + timedelta(days=10))
    await keep_token(world.store, parent)
    new = world.new(expires_at=None if days is None else now + timedelta(days=days))
    made = await world.make(new, credential=parent.id, is_token=True, expires_at=parent.expires_at)

    assert made.expires_at == now + timedelta(days=expected)


@pytest.mark.parametrize("is_token", [False, True])
async def test_ended_credentials_make_nothing(world: World, is_token: bool) -> None:
    """Where the session or token is not there any more when it comes to writing, nothing is made."""
    with pytest.raises(InvalidToken):
        await world.make(credential=uuid.uuid4(), is_token=is_token)
    with pytest.raises(InvalidToken):
        await world.make(is_token=True)  # the id of a session is not that of a token

    assert await world.tokens() == []


async def test_inactive_user_makes_nothing(world: World) -> None:
    """Nor does one who is gone."""
    await keep(world.store, replace(world.ada, active=False))
    with pytest.raises(InvalidToken):
        await world.make()
    with pytest.raises(InvalidToken):
        await world.make(user_id=uuid.uuid4())


async def test_tokens_are_bounded(world: World) -> None:
    """Over a hundred living ones there is none to be had, also for many who ask at once; one that expired counts no more."""
    now = world.clock()
    await keep_token(world.store, *(a_token(world.ada, now, expires_at=None) for _ in range(MOST_TOKENS - 2)))
    await keep_token(world.store, a_token(world.ada, now, expires_at=now + timedelta(days=1)))
    asked = await asyncio.gather(*(world.make() for _ in range(5)), return_exceptions=True)
    assert [type(answer) for answer in asked].count(Conflict) == 4

    world.clock.advance(timedelta(days=1).total_seconds())
    await world.make()
    with pytest.raises(Conflict):
        await world.make()


async def test_tokens_are_listed_while_they_live(world: World) -> None:
    """The oldest first, without those that have expired."""
    now = world.clock()
    short = await world.make(world.new(expires_at=now + timedelta(seconds=1)))
    long = await world.make()
    assert await world.tokens() == [short, long]
    world.clock.advance(1)

    assert await world.tokens() == [long]


async def test_tokens_of_others_are_for_administrators(world: World) -> None:
    """Another user's tokens do not exist for a member, and unknown ones for no caller."""
    bob, eve = a_user(), a_user()
    await keep(world.store, bob, eve)
    of_bob = a_token(bob, world.clock())
    await keep_token(world.store, of_bob)

    for asked in (bob.id, uuid.uuid4()):
        with pytest.raises(NotFound):
            await world.tokens(caller(eve), asked)
    with pytest.raises(NotFound):
        await world.revoke(of_bob, eve)
    with pytest.raises(NotFound):
        await world.tokens(None, uuid.uuid4())
    assert await world.tokens(None, bob.id) == await world.tokens(caller(bob), bob.id) == [of_bob]
    await world.revoke(of_bob, world.ada)
    with pytest.raises(NotFound):
        await world.revoke(of_bob, world.ada)


async def test_end_of_a_token_is_an_event(world: World) -> None:
    """A revocation is an event about the user, with its actor, that names the token and no session."""
    made, other = await world.make(), await world.make()
    await world.revoke(made, world.ada)
    (event,) = await whole_log(world.store, types=frozenset({"token.ended"}))

    assert (event.actor, event.subject, event.token_id) == (world.ada.id, world.ada.id, made.id)
    assert (event.session_id, event.reason) == (None, "revoked")
    assert await world.tokens() == [other]


@pytest.mark.parametrize("reason", ["deactivated", "deleted"])
async def test_tokens_end_with_the_account(world: World, reason: str) -> None:
    """A deactivated or deleted user keeps no token, each revocation is an event, and no token returns with the account."""
    made = [await world.make(), await world.make()]
    by = Caller(uuid.uuid4(), "admin")
    if reason == "deleted":
        await accounts.delete(world.store, world.clock, BY, by, world.ada.id, None)
    else:
        for active in (False, True):
            change = Change({"active": active})
            await accounts.change(world.store, PlainHasher(), world.clock, BY, by, world.ada.id, change)
        assert await world.tokens() == []
    ended = await whole_log(world.store, types=frozenset({"token.ended"}))

    assert {(event.token_id, event.reason) for event in ended} == {(token.id, reason) for token in made}
    assert [await world.store.api_tokens.find_with_user(token.digest) for token in made] == [None, None]


async def test_tokens_stay_with_another_role(world: World) -> None:
    """A role changes what a token may do, not whether it is there; so does a new name."""
    made = await world.make()
    change = Change({"role": "member", "name": "Ada"})
    await accounts.change(
        world.store, PlainHasher(), world.clock, BY, Caller(uuid.uuid4(), "admin"), world.ada.id, change
    )

    assert await world.tokens() == [made]
