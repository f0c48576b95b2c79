"""Read a room with `websockets`, through restarts and token refreshes.

    pip install websockets
    ROSTER=http://127.0.0.1:8080 LOGIN=ada PASSWORD='correct horse battery staple' \\
        python examples/room_websockets.py lobby 'a text to send'

Prints one line for each message. The text, if given, is sent once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol


class LoggedOut(Exception):
    """The session has ended; log in again."""


class Session:
    """Tokens of one login."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._tokens: dict[str, str] = {}

    @property
    def access_token(self) -> str:
        return self._tokens["access_token"]

    async def log_in(self, login: str, password: str) -> None:
        await self._take_tokens("/v1/auth/login", {"login": login, "password": password})

    async def refresh(self) -> None:
        """Get the next pair of tokens; raises `LoggedOut`."""
        await self._take_tokens("/v1/auth/refresh", {"refresh_token": self._tokens["refresh_token"]})

    async def _take_tokens(self, path: str, body: dict[str, str]) -> None:
        request = urllib.request.Request(
            self._base_url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with await asyncio.to_thread(urllib.request.urlopen, request, timeout=10) as answer:
                self._tokens = json.load(answer)  # an application stores them first
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (400, 401):
                    raise LoggedOut() from None
                raise


class Room:
    """One room, over as many connections as it takes."""

    def __init__(self, name: str, session: Session, text: str | None) -> None:
        self._name = name
        self._session = session
        self._text = text
        self._position: str | None = None

    async def follow(self, url: str) -> None:
        """Print the messages of the room until the session ends; raises `LoggedOut`.

        `connect` reconnects with a growing delay while Roster is away.
        """
        async for socket in connect(url, subprotocols=[Subprotocol("roster.v1")]):
            delay_s = 0.0
            try:
                await self._authenticate(socket)
                join = {"type": "join", "room": self._name}
                await _send(socket, join if self._position is None else {**join, "after": self._position})
                async for frame in socket:
                    delay_s = await self._receive(socket, json.loads(frame)) or delay_s
            except ConnectionClosed:
                pass
            except OSError:
                delay_s = 2  # Roster did not answer the refresh
            await asyncio.sleep(delay_s)

    async def _authenticate(self, socket: ClientConnection) -> None:
        await _send(socket, {"type": "auth", "token": self._session.access_token})
        if json.loads(await socket.recv())["type"] == "error":  # the token has expired
            await self._session.refresh()
            await _send(socket, {"type": "auth", "token": self._session.access_token})

    async def _receive(self, socket: ClientConnection, frame: dict[str, Any]) -> float | None:
        """Handle one frame; returns the seconds after which to reconnect, once Roster has said them."""
        match frame:
            case {"type": "message", "room": self._name}:
                self._position = frame["id"]
                print("message", frame["from"]["username"], json.dumps(frame["data"]), flush=True)
            case {"type": "reset", "room": self._name}:
                self._position = frame["position"]
                print("reset", frame["reason"], flush=True)  # messages were lost
            case {"type": "joined"}:
                self._position = self._position or frame["position"]
                print("joined", flush=True)
                if self._text is not None:
                    await _send(socket, {"type": "broadcast", "room": self._name, "data": self._text})
                    self._text = None
            case {"type": "closing", "reconnect_after_ms": int(wait_ms)}:
                return wait_ms / 1000
            case {"type": "error"}:
                print("error", frame["code"], frame["detail"], file=sys.stderr)
            case _:
                pass  # frames that are not used here, and those of later versions
        return None


async def _send(socket: ClientConnection, frame: dict[str, Any]) -> None:
    await socket.send(json.dumps(frame))


async def main(room: str, text: str | None = None) -> None:
    base_url = os.environ["ROSTER"]
    session = Session(base_url)
    await session.log_in(os.environ["LOGIN"], os.environ["PASSWORD"])
    url = base_url.replace("http", "ws", 1) + "/v1/ws"
    await Room(room, session, text).follow(url)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except LoggedOut:
        raise SystemExit("the session has ended; log in again") from None
