"""The own account through the client: sessions, API tokens, password, second factor, and reading what happened."""

from __future__ import annotations

import pytest
from roster_client import ApiToken, AsyncRoster, InsufficientScope, Login, OtpRequired, Unauthenticated

from tests.support.server import PASSWORD, Server, serve
from tests.support.totp import protect


async def test_sessions_are_listed_and_ended(server: Server) -> None:
    """A user sees its sessions, and ends the others."""
    ada = await server.member("ada")
    async with AsyncRoster(server.url, Login("ada", PASSWORD)) as roster:
        sessions = await roster.sessions.list()
        assert [session.current for session in sessions].count(True) == 1
        assert len(sessions) == 2
        await roster.sessions.end_others()
        [own] = await roster.sessions.list()
        assert own.current
        await roster.log_out()
        assert (await roster.me()).id == ada.id  # with a new login


async def test_token_has_its_scopes_only(server: Server) -> None:
    """A call that an API token may not make names the scope."""
    await server.member("ada")
    async with AsyncRoster(server.url, Login("ada", PASSWORD)) as roster:
        made = await roster.tokens.create("crm", ["profile"], expires_in_s=3600)
        assert made.token not in repr(made)
        async with AsyncRoster(server.url, ApiToken(made.token)) as program:
            assert (await program.me()).username == "ada"
            with pytest.raises(InsufficientScope) as refused:
                await program.rooms.send("lobby", "hello")
            assert refused.value.scope == "rooms:write"
            await roster.tokens.revoke(made.id)
            with pytest.raises(Unauthenticated):
                await program.me()
        assert [token.name for token in await roster.tokens.list()] == []


async def test_token_lives_as_long_as_asked() -> None:
    """A token without a life gets the service's default; `never` needs the operator's leave."""
    async with serve(api_token_ttl_s=0) as server:
        await server.member("ada")
        async with AsyncRoster(server.url, Login("ada", PASSWORD)) as roster:
            assert (await roster.tokens.create("usual", ["profile"])).expires_at is not None
            assert (await roster.tokens.create("lasting", ["profile"], expires_in_s="never")).expires_at is None


async def test_second_factor_is_asked_for_when_needed(server: Server) -> None:
    """`otp` is called if the account has a second factor; without it the login raises `OtpRequired`."""
    phone = await protect(server, await server.member("ada"))
    async with AsyncRoster(server.url, Login("ada", PASSWORD)) as roster:
        with pytest.raises(OtpRequired):
            await roster.me()
    code = await phone.code()
    async with AsyncRoster(server.url, Login("ada", PASSWORD, otp=lambda prompt: code)) as roster:
        assert (await roster.totp.status()).recovery_codes_left == 10
        await roster.totp.remove(PASSWORD, await phone.code())
        assert not (await roster.totp.status()).enabled
        secret = await roster.totp.begin(PASSWORD)
        assert secret.uri.startswith("otpauth://")


async def test_password_is_changed(server: Server) -> None:
    """A client whose password changed goes on with its session, and the new password logs in."""
    await server.member("ada")
    async with AsyncRoster(server.url, Login("ada", PASSWORD)) as roster:
        await roster.password(PASSWORD, "another correct horse battery")
        assert (await roster.me()).username == "ada"
    async with AsyncRoster(server.url, Login("ada", "another correct horse battery")) as roster:
        assert (await roster.ticket()).expires_in > 0


async def test_log_and_audit_trail_are_read_in_pages(admin: AsyncRoster) -> None:
    """Events come from the oldest on, entries from the newest on."""
    ada = await admin.users.create("ada", "ada@example.com")
    await admin.users.delete(ada)
    events = [event async for event in admin.events.list(types={"user.created", "user.deleted"}, page_size=1)]
    assert [(event.type, event.subject == ada.id) for event in events[-2:]] == [
        ("user.created", True),
        ("user.deleted", True),
    ]
    assert events[-1].seq > events[-2].seq == ada.version
    entries = [entry async for entry in admin.audit.list(subject=ada.id, page_size=1)]
    assert [entry.action for entry in entries] == ["user.deleted", "user.created"]


async def test_registration_and_room(server: Server) -> None:
    """A new user registers without credentials, and sends a message to a room."""
    async with AsyncRoster(server.url) as visitor:
        grace = await visitor.account.register("grace", "grace@example.com", PASSWORD)
        assert grace is not None
        with pytest.raises(Unauthenticated):
            await visitor.me()
    async with AsyncRoster(server.url, Login("grace", PASSWORD)) as roster:
        sent = await roster.rooms.send("lobby", {"text": "hello"})
        assert sent.sender.id == grace.id
        assert [message async for message in roster.rooms.messages("lobby")] == [sent]
        assert [room.room async for room in roster.rooms.list()] == ["lobby"]
        assert [member async for member in roster.rooms.members("lobby")] == []
