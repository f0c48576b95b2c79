"""Running a use case at most once per idempotency key."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from service.domain.errors import IdempotencyKeyReused, InvalidToken, ResponseExpired
from service.domain.idempotency.claims import Claim, IdempotencyKeys, StoredResponse
from service.domain.idempotency.run import run_idempotent
from service.domain.ports import Transaction, TransactionRunner, Written
from service.domain.users.user import User
from tests.support.domain import BY, a_user
from tests.support.member import Member
from tests.support.stores import Broken, erase


class World(Member):
    """The account `ada`, which creates users with a key; counts how often the use case ran and was rendered."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = IdempotencyKeys("secret", 60)
        self.ran = 0
        self.rendered = 0

    def claim(
        self, key: str = "k", body: bytes = b"{}", route: str = "POST /v1/users", user: User | None = None
    ) -> Claim:
        return self.keys.claim((user or self.ada).id, route, key, body, self.clock())

    def render(self, written: Written[Any]) -> StoredResponse:
        self.rendered += 1
        return StoredResponse(201, {"ETag": f'"{written.position.seq}"'}, b"answer %d" % self.rendered, written.value)

    async def run(self, claim: Claim, new: User, error: Exception | None = None) -> tuple[StoredResponse, bool]:
        async def act(store: TransactionRunner) -> object:
            self.ran += 1

            async def work(transaction: Transaction) -> uuid.UUID:
                await transaction.users.save(new)
                if error is not None:
                    raise error
                return new.id

            return await store.write(work, BY)

        return await run_idempotent(self.store, claim, self.render, act)

    async def exists(self, user: User) -> bool:
        return (await self.store.users.find(user.id)).value is not None


@pytest.fixture
async def world() -> World:
    world = World()
    await world.create()
    return world


async def test_first_request_is_carried_out_and_rendered(world: World) -> None:
    """The first request with a key gets a new answer, and the change is stored."""
    new = a_user()
    answer, replayed = await world.run(world.claim(), new)
    assert (answer.body, replayed) == (b"answer 1", False)
    assert await world.exists(new)


async def test_repeated_request_gets_the_first_answer_and_changes_nothing(world: World) -> None:
    """Status, headers and body are those of the first request; the second write does not happen."""
    first, _ = await world.run(world.claim(), a_user())
    other = a_user()
    again, replayed = await world.run(world.claim(), other)
    assert (again, replayed) == (first, True)
    assert not await world.exists(other)
    assert world.rendered == 1


@pytest.mark.parametrize("fields", [{"key": "K"}, {"key": "k "}, {"route": "POST /v1/rooms"}, {"user": a_user()}])
async def test_claim_is_of_one_user_route_and_key(world: World, fields: dict[str, Any]) -> None:
    """The same key on another route, of another user, or in other letters is a new one."""
    await world.run(world.claim(), a_user())
    if user := fields.get("user"):
        await world.store.write(lambda write: write.users.save(user), BY)
    _, replayed = await world.run(world.claim(**fields), a_user())
    assert not replayed


async def test_key_with_another_body_is_refused(world: World) -> None:
    """A key that came with another body is refused, and nothing is written."""
    await world.run(world.claim(), a_user())
    other = a_user()
    with pytest.raises(IdempotencyKeyReused):
        await world.run(world.claim(body=b"{ }"), other)
    assert not await world.exists(other)


async def test_failed_request_leaves_the_key_free(world: World) -> None:
    """A use case that raises leaves neither change nor answer; the key may then come with any body."""
    new = a_user()
    with pytest.raises(Broken):
        await world.run(world.claim(), new, Broken())
    assert not await world.exists(new)
    _, replayed = await world.run(world.claim(body=b"[]"), new)
    assert not replayed
    assert await world.exists(new)


@pytest.mark.parametrize(("seconds", "replayed"), [(59.9, True), (60, False), (61, False)])
async def test_key_is_remembered_for_its_time(world: World, seconds: float, replayed: bool) -> None:
    """From the moment at which a key expires it is new, whatever body comes with it."""
    await world.run(world.claim(), a_user())
    world.clock.now += timedelta(seconds=seconds)
    _, again = await world.run(world.claim(), a_user())
    assert again is replayed


async def test_answer_about_a_deleted_user_is_gone(world: World) -> None:
    """After the user in the answer was deleted, the key is known and its answer is not repeated."""
    new = a_user()
    await world.run(world.claim(), new)
    await erase(world.store, new)
    with pytest.raises(ResponseExpired):
        await world.run(world.claim(), a_user())


async def test_key_of_a_deleted_user_is_refused(world: World) -> None:
    """A request whose user was deleted meanwhile is refused like one with an invalid access token."""
    await erase(world.store, world.ada)
    new = a_user()
    with pytest.raises(InvalidToken):
        await world.run(world.claim(), new)
    assert not await world.exists(new)
