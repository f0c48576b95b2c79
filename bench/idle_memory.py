"""What 2,000 connections cost that are open and silent, in memory of the server."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from bench import needs, roster
from bench.cores import Cores
from bench.held import held
from bench.needs import LeftOut
from bench.rounds import Plan
from bench.table import table
from bench.versions import versions

CONNECTIONS: Final = 2_000

_SETTLE_S: Final = 1
_GIVEN_BACK_S: Final = 6  # the service trims its heap once no connection has closed for a while
_JOIN: Final = b'{"type":"join","room":"bench"}'


@dataclass(frozen=True, slots=True)
class Idle:
    """A way to be connected and silent.

    Attributes:
        then: frame sent once the connection is open.
        sign: what the server says when the connection is as it should be.
    """

    name: str
    path: str
    websocket: bool
    then: bytes
    sign: bytes


@dataclass(frozen=True, slots=True)
class Weight:
    """Resident memory of the server, in bytes: before, with all connected, after all have left."""

    before: int
    held: int
    after: int

    @property
    def each(self) -> float:
        """Bytes a connection."""
        return (self.held - self.before) / CONNECTIONS


WAYS: Final = (
    Idle("/v1/ws", "/v1/ws", True, b"", b'"type":"hello"'),
    Idle("/v1/ws, in a room", "/v1/ws", True, _JOIN, b'"type":"joined"'),
    Idle("/v1/feed", "/v1/feed", False, b"", b"event: hello"),
)


def run(plan: Plan, cores: Cores) -> str:
    """Weigh, and tell; once, as memory does not waver like time. Raises `LeftOut`, `NotServing`, `WrongAnswer`."""
    needs.descriptors(CONNECTIONS)
    rows = []
    for way in WAYS:
        weight = _weigh(way, cores)
        rows.append(
            (
                way.name,
                f"{weight.each / 1024:.1f}",
                f"{weight.before / 2**20:.1f}",
                f"{weight.held / 2**20:.1f}",
                f"{weight.after / 2**20:.1f}",
            )
        )
    return "\n\n".join(
        (
            f"resident memory of the server with {CONNECTIONS:,} silent connections of one user, "
            f"{_SETTLE_S} s after the last came, {_GIVEN_BACK_S} s after it left\n{versions('aiohttp', 'uvloop')}",
            table(("", "KB each", "MB before", "MB with all", "MB after"), rows),
        )
    )


def _weigh(way: Idle, cores: Cores) -> Weight:
    # A server of its own for each kind: the memory of one kind would be free for the next.
    with roster.running(cores.server) as ours:
        time.sleep(_SETTLE_S)
        before = ours.server.rss_bytes
        if before is None:
            raise LeftOut("the system does not tell what memory a process has")
        targets = [ours.target(way.path)] * CONNECTIONS
        with held(targets, websocket=way.websocket, then=way.then, sign=way.sign) as streams:
            time.sleep(_SETTLE_S)
            weight = ours.server.rss_bytes
            for stream in streams:
                stream.take()  # raises for one that has ended
        time.sleep(_GIVEN_BACK_S)
        after = ours.server.rss_bytes
        ours.server.check_running()
        return Weight(before, weight or 0, after or 0)
