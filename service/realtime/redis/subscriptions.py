"""The channels on which other processes publish: those of the rooms that this process reads, and its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from redis.asyncio.connection import Connection

from service.domain.errors import Unavailable
from service.realtime.redis.connection import TIMEOUT_S, abort, create_connection, keep_connected

_MOST_IN_A_COMMAND: Final = 512


class Subscriptions:
    """One connection that is subscribed to channels. A connection that ends may lose messages: the owner compares after each new one.

    Args:
        on_message: called with the channel and the data, in the order of their arrival.
        on_connected: called when a new connection is subscribed to everything again.
        on_lost: called with the reason when a connection fails or cannot be made.
    """

    def __init__(
        self,
        url: str,
        ca_file: str | None,
        on_message: Callable[[str, bytes], None],
        on_connected: Callable[[], None],
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._url = url
        self._ca_file = ca_file
        self._on_message = on_message
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._channels: dict[str, None] = {}
        self._confirming: dict[str, asyncio.Future[None]] = {}
        self._connection: Connection | None = None
        self._outgoing: list[tuple[str, ...]] = []
        self._has_outgoing = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def subscribe(self, channel: str) -> None:
        """Return when the server has confirmed it. Raises `Unavailable` after a second."""
        self._channels[channel] = None
        confirmed = self._confirming.get(channel)
        if confirmed is None:
            confirmed = self._confirming[channel] = asyncio.get_running_loop().create_future()
            self._send("SUBSCRIBE", channel)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.shield(confirmed)
        except TimeoutError:
            raise Unavailable(sentence="Redis did not confirm a subscription.") from None

    def unsubscribe(self, channel: str) -> None:
        if channel in self._channels:
            del self._channels[channel]
            self._confirming.pop(channel, None)
            self._send("UNSUBSCRIBE", channel)

    def reconnect(self) -> None:
        """Drop the connection: it is alive, and what is published does not arrive on it."""
        if self._connection is not None:
            abort(self._connection)

    async def run(self) -> None:
        """Keep connected. Runs until cancelled."""
        await keep_connected(self._serve, self._on_lost)

    def _send(self, *command: str) -> None:
        if self._connection is not None:
            self._outgoing.append(command)
            self._has_outgoing.set()

    async def _serve(self) -> None:
        connection = create_connection(self._url, self._ca_file)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
            self._outgoing.clear()
            missing = set(self._channels)
            for channels in _batches(self._channels):
                await connection.send_command("SUBSCRIBE", *channels, check_health=False)
            self._connection = connection
            sending = asyncio.create_task(self._write(connection), name="write subscriptions to Redis")
            try:
                if not missing:
                    self._on_connected()
                while True:
                    kind, channel, data = await connection.read_response(disable_decoding=True, timeout=math.inf)
                    name = channel.decode()
                    if kind == b"message":
                        self._on_message(name, data)
                    elif kind == b"subscribe":
                        self._confirm(name)
                        if name in missing:
                            missing.discard(name)
                            if not missing:
                                self._on_connected()
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        finally:
            self._connection = None
            await connection.disconnect(nowait=True)

    def _confirm(self, channel: str) -> None:
        confirmed = self._confirming.get(channel)
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(None)

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._has_outgoing.wait()
            self._has_outgoing.clear()
            commands, self._outgoing = self._outgoing, []
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)


def _batches(channels: Iterable[str]) -> Iterable[list[str]]:
    rest = iter(channels)
    while batch := list(islice(rest, _MOST_IN_A_COMMAND)):
        yield batch
