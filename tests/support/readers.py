"""Readers of the feed, or of a room, that drop, stall and come back, and keep what they took by the version rule."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Literal

from tests.support.server import Login
from tests.support.wires import SseWire, WebSocketWire, Wire

Kind = Literal["feed", "websocket"]
KINDS: Final[tuple[Kind, ...]] = ("feed", "websocket")

_OPEN_S: Final = 30.0
_AGAIN_S: Final = 0.1


def seq_of(position: str) -> int:
    return int(position.rpartition("-")[2])


class Reader:
    """Follows what it reads over one connection after the other.

    Args:
        all_events: whether it may read every event, so that within a connection no number may be missing.
        room: read this one instead of the feed, over WebSocket as a member.
        receive_buffer: bytes that its kernel takes while it stalls; None for what the kernel thinks right.
        on_taken: called with each seq as it is taken; may be set later.

    Attributes:
        taken: seqs of the events that the version rule let through: those above what it held.
        refused: how many the rule kept out.
        faults: what must never happen: disorder or a hole within a connection, an end without a word.
        place: what EventSource would send as `Last-Event-ID`.
        resets: the reasons of `reset`, or of a `joined` that did not recover, with their place.
        closing: what `closing` said, on the connection that is open or was last.
        close_code: of a WebSocket, the same; of an event stream, 0 where its last chunk came.
        away_s: how long each reconnect took, from the end of one connection to
            where the next begins.
        told_at: when it received `closing`, by the clock of the loop.
    """

    def __init__(
        self,
        port: int,
        by: Login,
        kind: Kind,
        *,
        all_events: bool,
        room: str | None = None,
        receive_buffer: int | None = None,
        on_taken: Callable[[int], None] | None = None,
    ) -> None:
        self.by = by
        self.kind = kind
        self.taken: list[int] = []
        self.refused = 0
        self.faults: list[str] = []
        self.place = ""
        self.resets: list[dict[str, Any]] = []
        self.closing: dict[str, Any] | None = None
        self.close_code: int | None = None
        self.away_s: list[float] = []
        self.told_at = 0.0
        self.connections = 0
        self.room = room
        self.path = "/v1/feed" if room is None else f"/v1/rooms/{room}/feed"
        self._port = port
        self._all_events = all_events
        self._receive_buffer = receive_buffer
        self.on_taken = on_taken
        self._held = 0
        self._last = 0  # on this connection, as is the next
        self._stalled = False
        self._persists = False
        self._ended = asyncio.Event()
        self._wire: Wire | None = None
        self._opened: asyncio.Future[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._wire is not None

    async def open(self, after: str | None = None) -> None:
        """Connect and begin after `after`; None: at its position, or at the head if it has none. Returns when it has
        where it begins. Raises ConnectionError."""
        assert self._wire is None, "it is open"
        sock = socket.socket()
        if self._receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", self._port))
        after = after or self.place or None
        self._last = 0 if after is None else seq_of(after)
        self.closing = self.close_code = None
        self._stalled = False
        self._ended.clear()
        self.connections += 1
        self._wire = SseWire(self, after) if self.kind == "feed" else WebSocketWire(self, after)
        self._opened = loop.create_future()
        wire = self._wire
        await loop.create_connection(lambda: wire, sock=sock)
        async with asyncio.timeout(_OPEN_S):
            await self._opened

    def drop(self, *, how: Literal["goodbye", "vanish"]) -> None:
        """Leave. Harmless when it is not connected."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.goodbye() if how == "goodbye" else wire.vanish()

    def say(self, data: Any) -> None:
        """Send to its room, without waiting."""
        assert isinstance(self._wire, WebSocketWire), "only members of a room speak"
        self._wire.send({"type": "broadcast", "room": self.room, "data": data})

    def stall(self) -> None:
        """Read nothing more, pings neither: who does so for longer than a heartbeat may find itself cut off."""
        if self._wire is not None:
            self._stalled = True
            self._wire.transport.pause_reading()

    def go_on(self) -> None:
        if self._wire is not None and not self._wire.transport.is_closing():
            self._wire.transport.resume_reading()

    async def roam(self, chance: random.Random, stop: asyncio.Event, *, rest_s: float, back_s: float) -> None:
        """Drop, stall and reconnect at random until stopped; open at the end.

        Args:
            rest_s: longest time for which it does nothing special, or stalls.
            back_s: longest time for which it stays away.
        """
        while not stop.is_set():
            await _pause(stop, chance.uniform(0, rest_s))
            act = chance.choice(("drop", "stall", "stall and drop"))
            if "stall" in act:
                self.stall()
                await _pause(stop, chance.uniform(0, rest_s))
                self.go_on()
            if "drop" in act:
                self.drop(how=chance.choice(("goodbye", "vanish")))
            if not self.is_open:
                await _pause(stop, chance.uniform(0, back_s))
                await self.open(self._somewhere_before(chance))

    async def persist(self, chance: random.Random, *, back_s: float) -> None:
        """Come back by itself until cancelled, however its connection ends, as EventSource does: after the given
        time, or at random.

        Args:
            back_s: longest time for which it stays away without a given reconnect time, as after a crash.
        """
        self._persists = True
        loop = asyncio.get_running_loop()
        while True:
            await self._ended.wait()
            ended_at = loop.time()
            told = self.closing
            self.drop(how="goodbye")  # of a feed the stream ends, and not the connection
            await asyncio.sleep(chance.uniform(0, back_s) if told is None else told["reconnect_after_ms"] / 1000)
            while not self.is_open:
                try:
                    await self.open()
                except OSError:
                    await asyncio.sleep(_AGAIN_S)
            self.away_s.append(loop.time() - ended_at)

    def _somewhere_before(self, chance: random.Random) -> str | None:
        """Where it comes back: most often where it was, now and then from an older note of its place."""
        if not self.taken or chance.random() < 0.7:
            return None
        older = max(self.taken[0] - 1, seq_of(self.place) - chance.randint(1, 30))
        return f"{self.place.rpartition('-')[0]}-{older}"

    # --- What its wire tells it: nothing counts that comes from one which it has left.

    def on_open(self, wire: Wire, position: str) -> None:
        if wire is not self._wire:
            return
        if position:
            self._last = seq_of(position)
            self.place = position
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)

    def on_event(self, wire: Wire, position: str) -> None:
        if wire is not self._wire:
            return
        seq = seq_of(position)
        if seq <= self._last or (self._all_events and seq != self._last + 1):
            self.faults.append(f"{seq} after {self._last}")
        self._last = seq
        self.place = position
        if seq <= self._held:
            self.refused += 1
            return
        self._held = seq
        self.taken.append(seq)
        if self.on_taken is not None:
            self.on_taken(seq)

    def on_place(self, wire: Wire, position: str) -> None:
        """A ping, or a heartbeat: up to there it was served."""
        if wire is not self._wire:
            return
        seq = seq_of(position)
        if seq < self._last or (self._all_events and seq != self._last):
            self.faults.append(f"served up to {seq}, it says, after {self._last}")
        self._last = seq
        self.place = position

    def on_reset(self, wire: Wire, told: dict[str, Any]) -> None:
        if wire is self._wire:
            self.resets.append(told)
            self._last = seq_of(told["position"])
            self.place = told["position"]

    def on_closing(self, wire: Wire, told: dict[str, Any]) -> None:
        if wire is self._wire:
            self.closing = told
            self.told_at = asyncio.get_running_loop().time()

    def on_close_code(self, wire: Wire, code: int) -> None:
        if wire is self._wire:
            self.close_code = code
            self._ended.set()
            if self._opened is not None and not self._opened.done():
                # A stream that cannot be served now ends without a `hello`.
                self._wire = None
                wire.goodbye()
                self._opened.set_exception(ConnectionResetError("the stream was refused"))

    def on_lost(self, wire: Wire, error: Exception | None) -> None:
        if wire is not self._wire:
            return
        self._wire = None
        self._ended.set()
        if self.closing is None and not self._stalled and not self._persists:
            self.faults.append(f"lost: {error!r}")
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(ConnectionResetError(f"{self.kind} was lost: {error!r}"))


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
