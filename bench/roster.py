"""Roster as it is deployed: `python -m service` with its settings in the environment, and a login."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.fetch import Target, expect, get, post
from bench.serve import ROOT, Server, free_port, serving

# Nothing is switched off: the limits count every request, they are only too high to refuse one.
_SETTINGS: Final = {
    "ROSTER_HOST": "127.0.0.1",
    "ROSTER_LOG_FORMAT": "json",
    "ROSTER_LOG_LEVEL": "info",
    "ROSTER_RATE_LIMIT": "100000000/minute",
    "ROSTER_LOGIN_LIMIT": "1000000/minute",
    "ROSTER_REGISTRATION_LIMIT": "1000000/minute",
    "ROSTER_WRITE_LIMIT": "100000000/minute",
    "ROSTER_CONNECTIONS_PER_NETWORK": "100000",
    "ROSTER_MAX_CONNECTIONS_PER_USER": "100000",
    "ROSTER_WS_MESSAGES_PER_S": "1000000",
    "ROSTER_ACCESS_TTL_S": "86400",
}


@dataclass(frozen=True, slots=True)
class Roster:
    """A running Roster and a login of its administrator."""

    server: Server
    user: dict[str, Any]
    authorization: Mapping[str, str]

    def target(self, path: str, body: str | None = None) -> Target:
        """A request to it with the administrator's token."""
        return Target(self.server.port, path, self.authorization, body)


@contextmanager
def running(
    core: int | Collection[int] | None,
    *,
    module: str = "service",
    arguments: Sequence[str] | None = None,
    store_url: str = "memory://",
    name: str = "Roster",
    further: Mapping[str, str] | None = None,
    root: Path = ROOT,
) -> Iterator[Roster]:
    """Roster on a free port, or a module or arguments that serve it in another way, with `further` settings, from the checkout at
    `root`; raises `NotServing`, `WrongAnswer`."""
    port, password = free_port(), secrets.token_urlsafe(24)
    own = {"ROSTER_PORT": str(port), "ROSTER_STORE_URL": store_url, "ROSTER_ADMIN_PASSWORD": password}
    environ = {**_SETTINGS, **own, **(further or {})}
    with serving(name, arguments or ["-m", module], port, core, environ, root=root) as server:
        login = post(Target(port, "/v1/auth/login", {}), {"login": "admin", "password": password})
        token = expect(login, 200, "login to Roster").json()["access_token"]
        authorization = {"Authorization": f"Bearer {token}"}
        me = expect(get(Target(port, "/v1/users/me", authorization)), 200, "Roster's GET /v1/users/me")
        yield Roster(server, me.json(), authorization)
