"""From credentials to a principal, and how fast one is forgotten."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import uuid_utils.compat

from service.domain.errors import InvalidToken, Unauthenticated
from service.domain.events import Event
from service.domain.ports import Transaction
from service.domain.sessions import Session
from service.domain.users import User
from service.security import authenticator as module
from service.security import grants
from service.security.authenticator import TICKET_TTL, Authenticator
from service.security.tokens import AccessTokens
from service.store.memory import MemoryStore
from tests.support.domain import a_user, keep, updated
from tests.support.keys import ring
from tests.support.wait import until


class ShiftedClock:
    """The time, and what is added to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class SlowStore(MemoryStore):
    """Answers about sessions only when it is let go on: what a database far away does."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self.asked = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def session(self, session_id: UUID) -> tuple[Session, User] | None:
        self.asked += 1
        found = await super().session(session_id)
        await self.go_on.wait()
        return found


async def put(store: MemoryStore, session: Session) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.put_session(session)

    await store.write(work)


@dataclass
class World:
    """One user with one session."""

    clock: ShiftedClock
    store: SlowStore
    tokens: AccessTokens
    authenticator: Authenticator
    user: User
    session: Session

    def token(self) -> str:
        return self.tokens.issue(self.user.id, self.session.id)

    def ended(self) -> Event:
        return Event(
            "session.ended", self.clock(), self.user.id, self.user.id, session_id=self.session.id, reason="logout"
        )

    async def end_session(self) -> None:
        async def work(transaction: Transaction) -> None:
            await transaction.delete_session(self.session.id)

        await self.store.write(work)

    async def let_session_end_in(self, seconds: float) -> None:
        self.session = replace(self.session, expires_at=self.clock() + timedelta(seconds=seconds))
        await put(self.store, self.session)

    async def change(self, **fields: object) -> None:
        self.user = replace(self.user, **fields)  # type: ignore[arg-type]  # the fields of a user, by name
        await keep(self.store, self.user)


@pytest.fixture
async def world() -> World:
    clock = ShiftedClock()
    store = SlowStore(clock)
    tokens = AccessTokens(ring(), "roster", 900)
    user = a_user()
    now = clock()
    session = Session(uuid_utils.compat.uuid7(), user.id, secrets.token_bytes(32), now, now + timedelta(days=1), now)
    await keep(store, user)
    await put(store, session)
    return World(clock, store, tokens, Authenticator(store, tokens, clock), user, session)


async def test_token_is_checked_once_and_remembered(world: World) -> None:
    """The first use of a token asks the store, later ones do not; another token of the session is asked for again."""
    token = world.token()
    assert world.authenticator.remembered(f"Bearer {token}") is None
    principal = await world.authenticator.bearer(token)

    assert await world.authenticator.bearer(token) is principal
    assert world.authenticator.remembered(f"Bearer {token}") is principal
    assert world.store.asked == 1
    await world.authenticator.bearer(world.token())
    assert world.store.asked == 2


async def test_principal_says_who_and_until_when(world: World) -> None:
    """A principal has the user's id, role and name, its session, and ends with the token or the session before it."""
    principal = await world.authenticator.bearer(world.token())

    assert (principal.caller.id, principal.caller.role) == (world.user.id, "member")
    assert (principal.username, principal.session_id, principal.renewable) == (
        world.user.username,
        world.session.id,
        True,
    )
    assert principal.expires_at == pytest.approx(time.time() + 900, abs=2)

    await world.let_session_end_in(30)
    assert (await world.authenticator.bearer(world.token())).expires_at == world.session.expires_at.timestamp()


async def test_spelling_of_a_remembered_token_is_exact(world: World) -> None:
    """What is remembered is one text: nothing that only looks like it is taken for it."""
    token = world.token()
    await world.authenticator.bearer(token)

    for other in (token + "=", token + " ", " " + token, token[:-1], token.swapcase()):
        assert world.authenticator.remembered(f"Bearer {other}") is None
        with pytest.raises(InvalidToken):
            await world.authenticator.bearer(other)
    assert world.authenticator.remembered(f"bearer {token}") is None


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda world: world.ended(), id="session ended"),
        pytest.param(lambda world: updated(world.user, "role"), id="role changed"),
        pytest.param(lambda world: updated(world.user, "active"), id="deactivated"),
        pytest.param(lambda world: updated(world.user, "username"), id="renamed"),
        pytest.param(lambda world: Event("user.deleted", world.clock(), world.user.id, world.user.id), id="deleted"),
    ],
)
async def test_event_makes_forget(world: World, changed: Callable[[World], Event]) -> None:
    """What may change who somebody is drops all that is remembered about them, and about nobody else."""
    token, other = world.token(), a_user()
    await world.authenticator.bearer(token)
    world.authenticator.follow([replace(changed(world), subject=other.id)])
    assert world.authenticator.remembered(f"Bearer {token}") is not None

    world.authenticator.follow([changed(world)])

    assert world.authenticator.remembered(f"Bearer {token}") is None


async def test_other_changes_are_not_asked_about(world: World) -> None:
    """A new name or age does not make anybody be checked again."""
    token = world.token()
    await world.authenticator.bearer(token)
    world.authenticator.follow([updated(world.user, "name", "age", "email")])

    assert world.authenticator.remembered(f"Bearer {token}") is not None


async def test_answer_older_than_an_ending_is_not_remembered(world: World) -> None:
    """A session that ends while the store is asked about it must not be remembered from the answer."""
    token = world.token()
    world.store.go_on.clear()
    asking = asyncio.create_task(world.authenticator.bearer(token))
    await asyncio.sleep(0)
    await world.end_session()
    world.authenticator.follow([world.ended()])
    world.store.go_on.set()
    await asking

    assert world.authenticator.remembered(f"Bearer {token}") is None
    with pytest.raises(InvalidToken):
        await world.authenticator.bearer(token)


async def test_nobody_is_remembered_while_revocation_is_not_heard_of(world: World) -> None:
    """The store is asked at every use, so that an ending counts at once."""
    current = True
    world.authenticator._is_current = lambda: current
    token = world.token()
    await world.authenticator.bearer(token)
    world.authenticator.forget()
    assert world.authenticator.remembered(f"Bearer {token}") is None
    current = False
    await world.authenticator.bearer(token)
    assert world.authenticator.remembered(f"Bearer {token}") is None

    await world.end_session()
    with pytest.raises(InvalidToken):
        await world.authenticator.bearer(token)


async def test_principal_is_confirmed_while_it_holds(world: World) -> None:
    """The store is asked, not what is remembered: the end of its session or another role is found at once."""
    principal = await world.authenticator.bearer(world.token())
    assert await world.authenticator.confirm(principal)
    assert not await world.authenticator.confirm(replace(principal, caller=replace(principal.caller, role="admin")))

    await world.end_session()
    with pytest.raises(InvalidToken):
        await world.authenticator.confirm(principal)


async def test_remembered_token_ends_with_the_clock(world: World) -> None:
    """A remembered token is compared with the clock at every use."""
    await world.let_session_end_in(0.1)
    token = world.token()
    await world.authenticator.bearer(token)

    assert world.authenticator.remembered(f"Bearer {token}") is not None
    await until(lambda: world.authenticator.remembered(f"Bearer {token}") is None)


async def test_token_of_another_users_session_is_refused(world: World) -> None:
    """User and session of a token belong together."""
    with pytest.raises(InvalidToken):
        await world.authenticator.bearer(world.tokens.issue(uuid_utils.compat.uuid7(), world.session.id))


@pytest.mark.parametrize("by", ["bearer", "cookie", "ticket", "new ticket"])
@pytest.mark.parametrize("end", ["session deleted", "session expired", "user deactivated"])
async def test_nothing_of_an_ended_session_is_good(world: World, by: str, end: str) -> None:
    """Neither token, cookie nor ticket of a session opens anything once it or its user has gone."""
    token = world.token()
    ticket, cookie = await world.authenticator.make_ticket(world.session.id)
    uses: dict[str, Callable[[], Awaitable[object]]] = {
        "bearer": lambda: world.authenticator.bearer(token),
        "cookie": lambda: world.authenticator.cookie(cookie),
        "ticket": lambda: world.authenticator.ticket(ticket),
        "new ticket": lambda: world.authenticator.make_ticket(world.session.id),
    }
    if end == "session deleted":
        await world.end_session()
    elif end == "session expired":
        world.clock.ahead = timedelta(days=2)
    else:
        await world.change(active=False)

    with pytest.raises(Unauthenticated):
        await uses[by]()


async def test_ticket_opens_once_and_within_its_time(world: World) -> None:
    """A ticket is good for one use within thirty seconds; its principal lasts as long as the session."""
    first, _ = await world.authenticator.make_ticket(world.session.id)
    second, _ = await world.authenticator.make_ticket(world.session.id)
    principal = await world.authenticator.ticket(first)

    assert (principal.session_id, principal.renewable) == (world.session.id, False)
    assert principal.expires_at == world.session.expires_at.timestamp()
    with pytest.raises(Unauthenticated):
        await world.authenticator.ticket(first)
    world.clock.ahead = TICKET_TTL
    with pytest.raises(Unauthenticated):
        await world.authenticator.ticket(second)


async def test_ticket_used_at_once_opens_one(world: World) -> None:
    """Of ten uses at the same time one succeeds."""
    ticket, _ = await world.authenticator.make_ticket(world.session.id)
    uses = await asyncio.gather(*(world.authenticator.ticket(ticket) for _ in range(10)), return_exceptions=True)

    assert sum(not isinstance(use, Unauthenticated) for use in uses) == 1


async def test_cookie_lasts_as_long_as_its_session(world: World) -> None:
    """A stream cookie is good for the session and is not remembered: each use asks."""
    _, cookie = await world.authenticator.make_ticket(world.session.id)
    asked = world.store.asked
    for _ in range(2):
        principal = await world.authenticator.cookie(cookie)
        assert (principal.session_id, principal.renewable) == (world.session.id, False)
    assert world.store.asked == asked + 2


@pytest.mark.parametrize(
    "make", [lambda world: grants.issue(world.session, "refresh"), lambda world: "x", lambda world: world.token()]
)
async def test_other_secrets_are_no_cookie(world: World, make: Callable[[World], str]) -> None:
    """A refresh token, an access token and any other text are refused as a cookie."""
    with pytest.raises(InvalidToken):
        await world.authenticator.cookie(make(world))


async def test_memory_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over so many tokens the oldest is forgotten, and checked again when it comes."""
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 3)
    tokens = [world.token() for _ in range(5)]
    for token in tokens:
        await world.authenticator.bearer(token)
    kept = [world.authenticator.remembered(f"Bearer {token}") is not None for token in tokens]
    world.authenticator.follow([world.ended()])

    assert kept == [False, False, True, True, True]
    assert not any(world.authenticator.remembered(f"Bearer {token}") for token in tokens)
