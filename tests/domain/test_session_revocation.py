"""Ending sessions from elsewhere, and refresh tokens that must not renew a session."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from service.domain.auth import login
from service.domain.auth.sessions import Session
from service.domain.errors import InvalidGrant, NotFound, RefreshTokenReused
from service.domain.users.accounts import Caller
from tests.support.domain import BY, a_user, caller, keep
from tests.support.member import Member
from tests.support.stores import erase, keep_session

DAY = timedelta(days=1)
ADMIN = Caller(uuid.uuid4(), "admin")


@pytest.fixture
async def member() -> Member:
    return await Member().create()


async def revoke(member: Member, by: Caller, session: Session | None = None) -> None:
    await login.revoke(member.store, member.clock, BY, by, (session or member.here).id)


async def refresh(member: Member, generation: int, idle: timedelta | None = None, *, authentic: bool = True) -> Session:
    logged_in = await login.refresh(
        member.store, member.clock, BY, member.here.id, generation, lambda _: authentic, idle=idle
    )
    return logged_in.session


# revoke and end_others


@pytest.mark.parametrize("by_admin", [True, False])
async def test_session_is_revoked_by_its_user_or_an_administrator(member: Member, by_admin: bool) -> None:
    """One session ends for the reason `revoked`, and the event names the caller as the actor."""
    by = ADMIN if by_admin else caller(member.ada)
    await revoke(member, by)
    assert await member.sessions() == {member.elsewhere.id}
    assert [(event.actor, event.session_id, event.reason) for event in await member.ends()] == [
        (by.id, member.here.id, "revoked")
    ]


async def test_session_of_another_user_is_not_found(member: Member) -> None:
    """A member learns nothing about sessions of others, and ends none."""
    with pytest.raises(NotFound):
        await revoke(member, caller(a_user()))
    assert await member.sessions() == {member.here.id, member.elsewhere.id}


async def test_ended_or_expired_session_is_not_found(member: Member) -> None:
    """A session is revoked once, and not from the moment at which it expires."""
    await revoke(member, ADMIN)
    with pytest.raises(NotFound):
        await revoke(member, ADMIN)
    member.clock.now = member.elsewhere.expires_at
    with pytest.raises(NotFound):
        await revoke(member, ADMIN, member.elsewhere)
    assert len(await member.ends()) == 1


async def test_end_of_the_others_keeps_this_session_and_the_tokens(member: Member) -> None:
    """Sessions of other users and API tokens stay."""
    bob = a_user()
    await keep(member.store, bob)
    of_bob = replace(member.here, id=uuid.uuid4(), user_id=bob.id)
    await keep_session(member.store, of_bob)
    await login.end_others(member.store, member.clock, BY, member.ada.id, member.here.id)
    assert await member.sessions() == {member.here.id}
    assert await member.tokens() == {member.token.id}
    assert await member.store.sessions.find_with_user(of_bob.id) is not None


# refresh


async def test_refresh_of_a_revoked_session_is_refused(member: Member) -> None:
    """The newest refresh token of a session that ended renews nothing, and ends nothing else."""
    await revoke(member, ADMIN)
    with pytest.raises(InvalidGrant) as refused:
        await refresh(member, 1)
    assert not isinstance(refused.value, RefreshTokenReused)
    assert await member.sessions() == {member.elsewhere.id}


async def test_refresh_of_a_deleted_user_is_refused(member: Member) -> None:
    """A session whose user was deleted is not renewed."""
    await erase(member.store, member.ada)
    with pytest.raises(InvalidGrant):
        await refresh(member, 1)


@pytest.mark.parametrize(("left", "renewed"), [(timedelta(microseconds=1), True), (timedelta(), False)])
async def test_session_is_renewed_before_it_expires(member: Member, left: timedelta, renewed: bool) -> None:
    """A session is over from the moment at which it expires."""
    member.clock.now = member.here.expires_at - left
    if renewed:
        assert (await refresh(member, 1)).generation == 2
    else:
        with pytest.raises(InvalidGrant):
            await refresh(member, 1)


@pytest.mark.parametrize("generation", [0, 1, 2, 99])
async def test_forged_refresh_token_ends_nothing(member: Member, generation: int) -> None:
    """A token that was not made with the session's secret is refused whatever generation it names."""
    await keep_session(member.store, replace(member.here, generation=3))
    with pytest.raises(InvalidGrant) as refused:
        await refresh(member, generation, authentic=False)
    assert not isinstance(refused.value, RefreshTokenReused)
    assert await member.ends() == []


async def test_reuse_is_refused_and_the_session_ended_by_the_service(member: Member) -> None:
    """A used token ends its own session alone; the event names no actor, because the client may be the thief."""
    await refresh(member, 1)
    member.clock.advance(11)
    with pytest.raises(RefreshTokenReused) as refused:
        await refresh(member, 1)
    assert (refused.value.session_id, refused.value.user_id) == (member.here.id, member.ada.id)
    assert await member.sessions() == {member.elsewhere.id}
    assert [(event.actor, event.reason) for event in await member.ends()] == [(None, "reuse")]
    with pytest.raises(InvalidGrant):
        await refresh(member, 2)


async def test_repeated_refresh_does_not_prolong_the_grace(member: Member) -> None:
    """A client that sends the predecessor again within ten seconds gets the same successor, and the ten seconds go on."""
    await refresh(member, 1)
    member.clock.advance(9)
    assert (await refresh(member, 1)).generation == 2
    member.clock.advance(2)
    with pytest.raises(RefreshTokenReused):
        await refresh(member, 1)


async def test_refresh_never_passes_the_absolute_end(member: Member) -> None:
    """An idle timeout moves the end of a session with each refresh, up to its absolute end and no further."""
    absolute_expires_at = member.clock() + timedelta(days=2)
    await keep_session(
        member.store, replace(member.here, expires_at=member.clock() + DAY, absolute_expires_at=absolute_expires_at)
    )
    member.clock.now += timedelta(hours=20)
    assert (await refresh(member, 1, DAY)).expires_at == member.clock() + DAY
    member.clock.now += timedelta(hours=20)
    assert (await refresh(member, 2, DAY)).expires_at == absolute_expires_at
    member.clock.now = absolute_expires_at
    with pytest.raises(InvalidGrant):
        await refresh(member, 3, DAY)
