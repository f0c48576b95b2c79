"""Ending sessions and API tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from service.domain.auth import revocation
from service.domain.mail.mail import Purpose
from service.domain.ports import Transaction
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, a_user, keep
from tests.support.member import Member
from tests.support.stores import Broken, a_session, a_token, keep_session, keep_token

PURPOSES: Sequence[Purpose] = ("verify", "reset", "move")


@pytest.fixture
async def member() -> Member:
    return await Member().create()


async def revoke_sessions(member: Member, keep_here: bool) -> None:
    but = member.here.id if keep_here else None
    await member.store.write(
        lambda write: revocation.revoke_sessions(write, member.clock, None, member.ada.id, "password", but), BY
    )


async def revoke_access(member: Member) -> None:
    await member.store.write(
        lambda write: revocation.revoke_access(write, member.clock, member.ada.id, member.ada.id, "deactivated"), BY
    )


async def test_ended_session_is_gone_and_its_event_says_why(member: Member) -> None:
    """The event of an ended session names actor, subject, session, reason and time, and no API token."""
    actor = a_user()
    member.clock.advance(60)
    await member.store.write(
        lambda write: revocation.revoke_session(write, member.clock, actor.id, member.here, "revoked"), BY
    )
    (event,) = await member.ends()
    assert (event.type, event.actor, event.subject) == ("session.ended", actor.id, member.ada.id)
    assert (event.session_id, event.token_id, event.reason) == (member.here.id, None, "revoked")
    assert event.time == member.clock()
    assert await member.sessions() == {member.elsewhere.id}


async def test_ended_token_is_gone_and_its_event_says_why(member: Member) -> None:
    """The event of an ended API token names the token, and no session."""
    await member.store.write(
        lambda write: revocation.revoke_token(write, member.clock, None, member.token, "revoked"), BY
    )
    (event,) = await member.ends()
    assert (event.type, event.actor, event.subject) == ("token.ended", None, member.ada.id)
    assert (event.session_id, event.token_id, event.reason) == (None, member.token.id, "revoked")
    assert await member.tokens() == set()
    assert await member.store.api_tokens.find_with_user(member.token.digest) is None


@pytest.mark.parametrize("keep_here", [True, False])
async def test_every_session_ends_but_the_one_named(member: Member, keep_here: bool) -> None:
    """Each ended session has one event, the kept one has none, and API tokens stay."""
    await revoke_sessions(member, keep_here)
    kept = {member.here.id} if keep_here else set()
    assert await member.sessions() == kept
    assert {event.session_id for event in await member.ends()} == {member.here.id, member.elsewhere.id} - kept
    assert {event.reason for event in await member.ends()} == {"password"}
    assert await member.tokens() == {member.token.id}


async def test_sessions_of_other_users_stay(member: Member) -> None:
    """Ending the sessions and tokens of one user leaves those of every other user."""
    bob = a_user()
    await keep(member.store, bob)
    session, token = a_session(bob, member.clock()), a_token(bob, member.clock())
    await keep_session(member.store, session)
    await keep_token(member.store, token)
    await revoke_access(member)
    assert await member.store.sessions.find_with_user(session.id) == (session, bob.at(2))
    assert await member.store.api_tokens.find_with_user(token.digest) == (token, bob.at(2))
    assert {event.subject for event in await member.ends()} == {member.ada.id}


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("keep_here", [True, False])
async def test_mailed_tokens_end_with_the_sessions(member: Member, purpose: Purpose, keep_here: bool) -> None:
    """Links that were mailed before end too, also where one session is kept."""
    presented = await member.mail_token(purpose)
    assert await member.store.mail_tokens.find(purpose, presented) is not None
    await revoke_sessions(member, keep_here)
    assert await member.store.mail_tokens.find(purpose, presented) is None


async def test_mailed_tokens_of_other_users_stay(member: Member) -> None:
    """Links that were mailed to another user stay valid."""
    other = Member()
    other.store, other.ada = member.store, a_user()
    await keep(member.store, other.ada)
    presented = await other.mail_token("reset")
    await revoke_access(member)
    assert await member.store.mail_tokens.find("reset", presented) is not None


async def test_end_of_access_ends_sessions_and_tokens_alike(member: Member) -> None:
    """Every session and every API token ends with an event of the same reason and actor."""
    second = a_token(member.ada, member.clock(), expires_at=None)
    await keep_token(member.store, second)
    await revoke_access(member)
    assert (await member.sessions(), await member.tokens()) == (set(), set())
    ended = await member.ends()
    assert {event.session_id or event.token_id for event in ended} == {
        member.here.id,
        member.elsewhere.id,
        member.token.id,
        second.id,
    }
    assert len(ended) == 4
    assert {(event.reason, event.actor) for event in ended} == {("deactivated", member.ada.id)}


async def test_expired_token_ends_too(member: Member) -> None:
    """An API token that expired by the clock ends as well: a clock that is set back must not revive it."""
    member.clock.advance(timedelta(days=31).total_seconds())
    await revoke_access(member)
    member.clock.advance(-timedelta(days=31).total_seconds())
    assert await member.store.api_tokens.find_with_user(member.token.digest) is None


async def test_user_without_sessions_gets_no_event() -> None:
    """Ending nothing appends nothing to the log."""
    clock = ManualClock()
    store, bob = MemoryStore(clock), a_user()
    await keep(store, bob)
    written = await store.write(lambda write: revocation.revoke_access(write, clock, None, bob.id, "password"), BY)
    assert written.events == ()


async def test_failed_change_ends_nothing(member: Member) -> None:
    """Sessions and links end together with the change that is the reason; a change that fails ends none."""
    presented = await member.mail_token("reset")

    async def work(write: Transaction) -> None:
        await revocation.revoke_access(write, member.clock, None, member.ada.id, "password")
        raise Broken()

    with pytest.raises(Broken):
        await member.store.write(work, BY)
    assert await member.sessions() == {member.here.id, member.elsewhere.id}
    assert await member.tokens() == {member.token.id}
    assert await member.store.mail_tokens.find("reset", presented) is not None
    assert await member.ends() == []
