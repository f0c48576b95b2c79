"""The WebSocket as a page of a browser lives with it."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.browser.listener import Listener, ticket
from tests.support.browser import Browse
from tests.support.server import PASSWORD, serve
from tests.support.ws import connect

pytestmark = pytest.mark.browser


async def test_websocket_of_a_page_hears_a_room_and_why_it_ends(browse: Browse) -> None:
    """By ticket it speaks `roster.v1`, hears what others say, and sees the code and the reason of a restart."""
    async with AsyncExitStack() as life:
        server = await life.enter_async_context(serve())
        ada, bob = await server.member("ada"), await server.member("bob")
        async with browse(server.url) as page:
            socket = await Listener.websocket(page, f"/v1/ws?ticket={await ticket(page, 'ada', PASSWORD)}")
            assert (await socket.expect("open")).data == "roster.v1"
            hello = await socket.expect("hello")
            assert hello.data["user"] == {"id": ada.id, "username": "ada"}
            await socket.send({"type": "join", "room": "tea", "ref": "1"})
            joined = await socket.expect("joined")
            assert (joined.data["room"], joined.data["ref"]) == ("tea", "1")

            async with connect(server, bob) as other:
                await other.ask("join", room="tea")
                sent = await other.ask("broadcast", room="tea", data={"text": "Grüße ☕"})
            message = await socket.until("message")
            assert message.data["id"] == sent["id"]
            assert message.data["from"] == {"id": bob.id, "username": "bob"}
            assert message.data["data"] == {"text": "Grüße ☕"}

            await life.aclose()

            told = await socket.until("closing")
            assert told.data["reason"] == "restart"
            assert told.data["reconnect_after_ms"] > 0
            assert (await socket.expect("close")).data == {"code": 1012, "reason": "restart", "wasClean": True}
