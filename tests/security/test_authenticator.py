"""From credentials to a principal, and how fast one is forgotten."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import uuid_utils.compat

from service.domain.auth import scopes
from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Session
from service.domain.errors import InvalidToken, Unauthenticated
from service.domain.events.event import Event
from service.domain.ports import Transaction
from service.domain.users.user import User
from service.security import api_token_secret, session_secrets
from service.security import authenticator as module
from service.security.access_tokens import AccessTokens
from service.security.authenticator import TICKET_TTL, Authenticator
from service.security.stream_cookies import cookie_name
from service.store.memory.sessions import MemorySessionReads
from service.store.memory.store import MemoryStore
from service.store.memory.tables import Tables
from tests.support.domain import BY, a_user, keep, updated
from tests.support.keys import ring
from tests.support.stores import a_token, keep_token
from tests.support.wait import until


class ShiftedClock:
    """The time, and what is added to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class SlowSessions(MemorySessionReads):
    """Answers about sessions only when it is released: a slow database."""

    def __init__(self, tables: Tables, clock: Callable[[], datetime]) -> None:
        super().__init__(tables, clock)
        self.asked = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def find_with_user(self, session_id: UUID) -> tuple[Session, User] | None:
        self.asked += 1
        found = await super().find_with_user(session_id)
        await self.go_on.wait()
        return found


class SlowStore(MemoryStore):
    """A memory store whose sessions are `SlowSessions`."""

    sessions: SlowSessions

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self.sessions = SlowSessions(self._tables, clock)


async def put(store: MemoryStore, session: Session) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.sessions.save(session)

    await store.write(work, BY)


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

    async def revoke_session(self) -> None:
        async def work(transaction: Transaction) -> None:
            await transaction.sessions.delete(self.session.id)

        await self.store.write(work, BY)

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
    assert world.authenticator.cached(f"Bearer {token}") is None
    principal = await world.authenticator.bearer(token)

    assert await world.authenticator.bearer(token) is principal
    assert world.authenticator.cached(f"Bearer {token}") is principal
    assert world.store.sessions.asked == 1
    await world.authenticator.bearer(world.token())
    assert world.store.sessions.asked == 2


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
    """The cache holds one exact text: nothing that only looks like it matches."""
    token = world.token()
    await world.authenticator.bearer(token)

    for other in (token + "=", token + " ", " " + token, token[:-1], token.swapcase()):
        assert world.authenticator.cached(f"Bearer {other}") is None
        with pytest.raises(InvalidToken):
            await world.authenticator.bearer(other)
    assert world.authenticator.cached(f"bearer {token}") is None


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
    """An event that may change a principal drops all that is cached of that user, and of no other."""
    token, other = world.token(), a_user()
    await world.authenticator.bearer(token)
    world.authenticator.invalidate([replace(changed(world), subject=other.id)])
    assert world.authenticator.cached(f"Bearer {token}") is not None

    world.authenticator.invalidate([changed(world)])

    assert world.authenticator.cached(f"Bearer {token}") is None


async def test_other_changes_are_not_asked_about(world: World) -> None:
    """A new name or age drops nothing from the cache."""
    token = world.token()
    await world.authenticator.bearer(token)
    world.authenticator.invalidate([updated(world.user, "name", "age", "email")])

    assert world.authenticator.cached(f"Bearer {token}") is not None


async def test_answer_older_than_an_ending_is_not_remembered(world: World) -> None:
    """A session that ends while the store is asked about it must not be remembered from the answer."""
    token = world.token()
    world.store.sessions.go_on.clear()
    asking = asyncio.create_task(world.authenticator.bearer(token))
    await asyncio.sleep(0)
    await world.revoke_session()
    world.authenticator.invalidate([world.ended()])
    world.store.sessions.go_on.set()
    await asking

    assert world.authenticator.cached(f"Bearer {token}") is None
    with pytest.raises(InvalidToken):
        await world.authenticator.bearer(token)


async def test_no_principal_is_cached_while_revocations_are_unknown(world: World) -> None:
    """The store is asked at every use, so that an ending counts at once."""
    current = True
    world.authenticator._is_current = lambda: current
    token = world.token()
    await world.authenticator.bearer(token)
    world.authenticator.clear_cache()
    assert world.authenticator.cached(f"Bearer {token}") is None
    current = False
    await world.authenticator.bearer(token)
    assert world.authenticator.cached(f"Bearer {token}") is None

    await world.revoke_session()
    with pytest.raises(InvalidToken):
        await world.authenticator.bearer(token)


async def test_principal_is_confirmed_while_it_holds(world: World) -> None:
    """The store is asked, not what is remembered: the end of its session or another role is found at once."""
    principal = await world.authenticator.bearer(world.token())
    assert await world.authenticator.revalidate(principal)
    assert not await world.authenticator.revalidate(replace(principal, caller=replace(principal.caller, role="admin")))

    await world.revoke_session()
    with pytest.raises(InvalidToken):
        await world.authenticator.revalidate(principal)


async def test_remembered_token_ends_with_the_clock(world: World) -> None:
    """A remembered token is compared with the clock at every use."""
    await world.let_session_end_in(0.1)
    token = world.token()
    await world.authenticator.bearer(token)

    assert world.authenticator.cached(f"Bearer {token}") is not None
    await until(lambda: world.authenticator.cached(f"Bearer {token}") is None)


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
        "cookie": lambda: world.authenticator.cookie(cookie.name, cookie.value),
        "ticket": lambda: world.authenticator.ticket(ticket),
        "new ticket": lambda: world.authenticator.make_ticket(world.session.id),
    }
    if end == "session deleted":
        await world.revoke_session()
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
    asked = world.store.sessions.asked
    for _ in range(2):
        principal = await world.authenticator.cookie(cookie.name, cookie.value)
        assert (principal.session_id, principal.renewable) == (world.session.id, False)
    assert world.store.sessions.asked == asked + 2


@pytest.mark.parametrize(
    "make",
    [lambda world: session_secrets.issue(world.session, "refresh"), lambda world: "x", lambda world: world.token()],
)
async def test_other_secrets_are_no_cookie(world: World, make: Callable[[World], str]) -> None:
    """A refresh token, an access token and any other text are refused as a cookie."""
    with pytest.raises(InvalidToken):
        await world.authenticator.cookie(cookie_name(world.session.id), make(world))


async def test_memory_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over so many tokens the oldest is forgotten, and checked again when it comes."""
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 3)
    tokens = [world.token() for _ in range(5)]
    for token in tokens:
        await world.authenticator.bearer(token)
    kept = [world.authenticator.cached(f"Bearer {token}") is not None for token in tokens]
    world.authenticator.invalidate([world.ended()])

    assert kept == [False, False, True, True, True]
    assert not any(world.authenticator.cached(f"Bearer {token}") for token in tokens)


# API tokens


@dataclass
class Program:
    """A world whose user has an API token, and the recorded uses."""

    world: World
    authenticator: Authenticator
    used: list[UUID]
    text: str
    token: ApiToken

    @property
    def header(self) -> str:
        return f"Bearer {self.text}"


@pytest.fixture
async def program(world: World) -> Program:
    used: list[UUID] = []
    authenticator = Authenticator(world.store, world.tokens, world.clock, on_use=used.append)
    text = api_token_secret.make()
    token = a_token(
        world.user, world.clock(), digest=api_token_secret.digest_of(text), scopes=frozenset({"profile", "tokens"})
    )
    await keep_token(world.store, token)
    return Program(world, authenticator, used, text, token)


async def test_api_token_says_who_what_for_and_until_when(program: Program) -> None:
    """Its principal is the user, with the token's scopes and end, and is not to be renewed."""
    principal = await program.authenticator.bearer(program.text)
    user, token = program.world.user, program.token

    assert (principal.caller.id, principal.username, principal.scopes) == (user.id, user.username, token.scopes)
    assert (principal.session_id, principal.token, principal.renewable) == (token.id, token, False)
    assert token.expires_at is not None
    assert principal.expires_at == token.expires_at.timestamp()


async def test_api_token_without_an_end_lasts(program: Program) -> None:
    """Its principal never expires, remembered or not."""
    endless = replace(program.token, expires_at=None)
    await drop(program.world.store, program.token)
    await keep_token(program.world.store, endless)
    principal = await program.authenticator.bearer(program.text)

    assert principal.expires_at == math.inf
    assert program.authenticator.cached(program.header) is principal


async def test_each_use_of_an_api_token_is_recorded(program: Program) -> None:
    """Remembered or not; what was refused is none, and a session's token has none to tell."""
    await program.authenticator.bearer(program.text)
    program.authenticator.cached(program.header)
    assert program.used == [program.token.id] * 2

    with pytest.raises(InvalidToken):
        await program.authenticator.bearer(api_token_secret.make())
    await program.authenticator.bearer(token := program.world.token())
    program.authenticator.cached(f"Bearer {token}")
    assert len(program.used) == 2


async def test_end_of_an_api_token_makes_forget(program: Program) -> None:
    """The event of its end drops what is remembered, and the store then knows of none."""
    world, token = program.world, program.token
    principal = await program.authenticator.bearer(program.text)
    assert await program.authenticator.revalidate(principal)
    await drop(world.store, token)
    program.authenticator.invalidate(
        [Event("token.ended", world.clock(), None, world.user.id, token_id=token.id, reason="revoked")]
    )

    assert program.authenticator.cached(program.header) is None
    with pytest.raises(InvalidToken):
        await program.authenticator.bearer(program.text)
    with pytest.raises(InvalidToken):
        await program.authenticator.revalidate(principal)


async def test_api_token_of_an_inactive_user_is_refused(program: Program) -> None:
    """Also if it expired; and another role is found at once."""
    principal = await program.authenticator.bearer(program.text)
    await program.world.change(role="admin")
    assert not await program.authenticator.revalidate(principal)
    program.authenticator.clear_cache()
    await program.world.change(active=False)

    with pytest.raises(InvalidToken):
        await program.authenticator.bearer(program.text)
    with pytest.raises(InvalidToken):
        await program.authenticator.revalidate(principal)


async def test_what_is_no_api_token_is_not_asked_about(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text whose checksum is wrong costs the store nothing, however often it comes."""
    asked: list[bytes] = []

    async def look(digest: bytes) -> None:
        asked.append(digest)

    monkeypatch.setattr(program.world.store.api_tokens, "find_with_user", look)
    for text in (program.text[:-1], program.text + "0", "roster_", program.text[::-1]):
        with pytest.raises(InvalidToken):
            await program.authenticator.bearer(text)
    assert asked == []


@pytest.mark.parametrize("scope", ["", "users:read", "users:read aggregate", "users:* everything"])
async def test_scope_of_an_access_token_is_taken_at_its_word(world: World, scope: str) -> None:
    """A session's token is good for what it says, as far as that is a scope; cookie and ticket for all that the role may."""
    principal = await world.authenticator.bearer(world.tokens.issue(world.user.id, world.session.id, scope))
    assert principal.scopes == set(scope.split()) & scopes.of("member")

    ticket, cookie = await world.authenticator.make_ticket(world.session.id)
    for lasting in (
        await world.authenticator.ticket(ticket),
        await world.authenticator.cookie(cookie.name, cookie.value),
    ):
        assert lasting.scopes == scopes.of("member")


async def drop(store: MemoryStore, token: ApiToken) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.api_tokens.delete(token.id)

    await store.write(work, BY)
