"""The service as production runs it, on a free port of loopback, with hashes that take no time."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from service.config.load import load
from service.config.settings import Settings
from service.domain.ports import Store
from service.http.services import SERVICES
from service.security.argon2_hasher import Argon2Hasher
from service.security.hash_admission import ProcessHasher
from service.server.serve import make_runner

ADMIN_PASSWORD = "the password of the admin"
PASSWORD = "correct horse battery staple"

_loaded: dict[str, Settings] = {}


def settings_for_tests(**overrides: Any) -> Settings:
    """Settings that read neither environment nor `.env`, with limits out of the way and intervals short."""
    fast: dict[str, Any] = {
        "_env_file": None,
        "port": 0,
        "keepalive_s": 600,
        "admin_password": ADMIN_PASSWORD,
        "jwt_secret": "a secret of tests, of 32 bytes at least",
        "rate_limit": "off",
        "login_limit": "off",
        "mail_limit": "off",
        "registration_limit": "off",
        "write_limit": "off",
        "hash_queue": 4096,
        "ws_messages_per_s": 0,
        "metrics_token": "none",
        "max_connections_per_user": 0,
        "presence_batch_s": 0.02,
        "presence_grace_s": 0.05,
        "drain_spread_s": 0.0,
        "shutdown_timeout_s": 2.0,
    }
    chosen = {**fast, **overrides}
    # Reading them takes 14 ms, for each of some thousand services that have the same.
    key = repr(sorted(chosen.items()))
    if key not in _loaded:
        _loaded[key] = load(**chosen)
    return _loaded[key]


@dataclass(slots=True)
class Login:
    """A user who is logged in, or comes with an API token, whose id stands for the refresh token then."""

    id: str
    username: str
    password: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}


class Server:
    """One running service."""

    def __init__(
        self, app: web.Application, port: int, session: aiohttp.ClientSession, address: str = "127.0.0.1"
    ) -> None:
        self.app = app
        self.port = port
        self.address = address
        self.http = session
        self._users = 0

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    def request(
        self, method: str, path: str, by: Login | None = None, **kwargs: Any
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A request, with the token of `by` if given."""
        headers = {**(by.headers if by else {}), **kwargs.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **kwargs)

    async def json(self, method: str, path: str, by: Login | None = None, *, status: int = 200, **kwargs: Any) -> Any:
        """The JSON of an answer that must have this status."""
        async with self.request(method, path, by, **kwargs) as answer:
            text = await answer.text()
            assert answer.status == status, f"{method} {path}: {answer.status} {text}"
            return json.loads(text) if text else None

    async def log_in(self, login: str, password: str = PASSWORD) -> Login:
        tokens = await self.json("POST", "/v1/auth/login", json={"login": login, "password": password})
        access = tokens["access_token"]
        me = await self.json("GET", "/v1/users/me", headers={"Authorization": f"Bearer {access}"})
        return Login(me["id"], me["username"], password, access, tokens["refresh_token"])

    async def token(self, by: Login, *scopes: str, **fields: Any) -> Login:
        """The same user with an API token of these scopes."""
        body = {"name": "a program", "scopes": scopes, **fields}
        made = await self.json("POST", "/v1/tokens", by, status=201, json=body)
        return Login(by.id, by.username, "", made["token"], made["id"])

    async def admin(self) -> Login:
        return await self.log_in("admin", ADMIN_PASSWORD)

    async def member(self, username: str | None = None) -> Login:
        """A new member, logged in."""
        self._users += 1
        username = username or f"member{self._users}"
        body = {"username": username, "email": f"{username}@example.com", "password": PASSWORD}
        await self.json("POST", "/v1/auth/register", status=201, json=body)
        return await self.log_in(username)

    async def head(self, by: Login) -> str:
        """The position at which the present state is true."""
        async with self.request("GET", "/v1/users/me", by) as answer:
            return answer.headers["Roster-Position"]

    def feed(self, by: Login | None = None, path: str = "/v1/feed", **kwargs: Any) -> Any:
        """Open a feed: `async with server.feed(login, params={"after": "0"}) as stream`."""
        from tests.support.sse import open_stream

        return open_stream(self, path, by, **kwargs)

    def ws(self, by: Login | None = None, path: str = "/v1/ws", **kwargs: Any) -> Any:
        """Open a WebSocket: `async with server.ws(login) as socket`."""
        headers = {**(by.headers if by else {}), **kwargs.pop("headers", {})}
        return self.http.ws_connect(path, headers=headers, **kwargs)


Serve = Callable[..., AbstractAsyncContextManager[Server]]


@asynccontextmanager
async def serve(
    *,
    send_buffer: int | None = None,
    hasher: ProcessHasher | None = None,
    store: Store | None = None,
    **overrides: Any,
) -> AsyncIterator[Server]:
    """Run the service with these settings until the end of the block, on a `store` that is given or on theirs; a small
    `send_buffer` of the kernel's makes connections to peers that do not read fill up soon."""
    hasher = hasher or Argon2Hasher(workers=2, queue=64, memory_kib=64)
    runner = await make_runner(settings_for_tests(**overrides), store=store, hasher=hasher)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    if send_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)  # what is accepted from it inherits this
    port = listener.getsockname()[1]
    await web.SockSite(runner, listener, backlog=2048).start()
    # WebSockets and feeds count too. The client keeps its connection: a test that finds it closed would leave another one over.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=600)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:
        try:
            yield Server(runner.app, port, session)
        finally:
            await runner.cleanup()
    # Transports close in the turn after; a test must not leave that to the next one.
    await asyncio.sleep(0)
    assert not len(runner.app[SERVICES].connections), "streams were left open"
