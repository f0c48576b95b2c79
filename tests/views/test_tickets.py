"""Two logins in one browser: each ticket is accepted with the cookie of its own session, never with another's."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from service.http.services import SERVICES
from tests.support.server import Login, Server
from tests.support.wait import until


async def create_ticket(
    server: Server, by: Login, cookies: Mapping[str, str] | None = None
) -> tuple[str, dict[str, str]]:
    """A ticket, and the cookies that came with it; deleted ones are empty."""
    header = "; ".join(f"{name}={value}" for name, value in (cookies or {}).items())
    async with server.request("POST", "/v1/auth/ticket", by, headers={"Cookie": header} if header else {}) as answer:
        assert answer.status == 200
        return (await answer.json())["ticket"], {name: morsel.value for name, morsel in answer.cookies.items()}


async def subject_of_stream(server: Server, ticket: str, cookies: Mapping[str, str]) -> str | int:
    """The id of the user whose stream this opens, or the status of the refusal."""
    await until(lambda: not len(server.app[SERVICES].connections))
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    async with (
        aiohttp.ClientSession(server.url, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get("/v1/feed", params={"ticket": ticket}, headers={"Cookie": header}) as answer,
    ):
        if answer.status != 200:
            return answer.status
        (connection,) = server.app[SERVICES].connections
        return connection.principal.user


async def test_two_logins_in_one_browser_keep_their_own_streams(server: Server) -> None:
    """Each spent ticket reopens the stream of its own user, whichever cookie came last."""
    ada, bob = await server.member("ada"), await server.member("bob")
    adas, jar = await create_ticket(server, ada)
    bobs, more = await create_ticket(server, bob, jar)
    jar |= more

    for _ in range(2):
        assert await subject_of_stream(server, adas, jar) == ada.id
        assert await subject_of_stream(server, bobs, jar) == bob.id


async def test_spent_ticket_is_refused_with_the_cookie_of_another_session(server: Server) -> None:
    """Another user's cookie, under its own name or under that of the ticket's session, opens nothing: 401."""
    ada, bob = await server.member("ada"), await server.member("bob")
    adas, adas_cookie = await create_ticket(server, ada)
    _, bobs_cookie = await create_ticket(server, bob)
    assert await subject_of_stream(server, adas, {}) == ada.id

    assert await subject_of_stream(server, adas, bobs_cookie) == 401
    ((name, _),), ((_, value),) = adas_cookie.items(), bobs_cookie.items()
    assert await subject_of_stream(server, adas, {name: value}) == 401


async def test_cookies_alone_open_no_stream(server: Server) -> None:
    """Without ticket or token a stream is 401, whatever cookies the request carries."""
    _, jar = await create_ticket(server, await server.member("ada"))
    for ticket in ("", "x", "0123456789ab.x"):
        assert await subject_of_stream(server, ticket, jar) == 401


async def test_cookies_of_ended_sessions_are_deleted_with_the_next_ticket(server: Server) -> None:
    """The next ticket deletes the cookies of sessions that have ended, and keeps those of the living."""
    ada, bob, cleo = await server.member("ada"), await server.member("bob"), await server.member("cleo")
    _, adas = await create_ticket(server, ada)
    _, bobs = await create_ticket(server, bob)
    await server.json("POST", "/v1/auth/logout", ada, status=204)
    (ended,) = adas
    strange = {"roster_stream_0123456789ab": "x", "roster_stream": "old", "theme": "dark"}

    _, given = await create_ticket(server, cleo, adas | bobs | strange)

    assert {name for name, value in given.items() if not value} == {ended, "roster_stream_0123456789ab"}
    assert len(given) == 3
