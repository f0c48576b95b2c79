"""The lease of this process in Redis: who beats, is alive; what published the beat, is the server that commands reach."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from typing import Final

from service.domain.errors import Unavailable
from service.realtime.redis import scripts
from service.realtime.redis.commands import RedisCommands

_BEAT_S: Final = 1.0
_LEASE_MS: Final = 5_000
_SILENT_S: Final = 2.0


class ProcessLease:
    """Beats once a second, under a name that is new with every connection and after every lost lease.

    Args:
        grace_s: until members of a process that ended leave.
        history_s: for how long rooms are kept that no process reads.
        on_new_process: called with the name before, when this process has a new one; with None the first time.
        on_silence: called when beats are not received that commands have published: the subscriptions reach another server.
    """

    def __init__(
        self,
        commands: RedisCommands,
        grace_s: float,
        history_s: float,
        on_new_process: Callable[[str | None], None],
        on_silence: Callable[[], None],
    ) -> None:
        self._commands = commands
        self._grace_ms = round(grace_s * 1000)
        self._history_ms = round(history_s * 1000)
        self._on_new_process = on_new_process
        self._on_silence = on_silence
        self._generation: bytes | None = None
        self._is_first = True
        self._number = 0
        self._heard_at = time.monotonic()
        self._heard_process = ""
        self._left: list[str] = []
        self._wake = asyncio.Event()
        self.process = ""
        """The name of this process in Redis."""

    @property
    def channel(self) -> str:
        return self.channel_of(self.process)

    def channel_of(self, process: str) -> str:
        return f"{self._commands.prefix}p:{process}"

    @property
    def silent_s(self) -> float:
        """For how long no beat came back; 0 while they do."""
        silent = time.monotonic() - self._heard_at
        return silent if silent > _SILENT_S else 0.0

    @property
    def is_heard(self) -> bool:
        """Whether a beat under the present name came back."""
        return bool(self.process) and self._heard_process == self.process

    def begin(self) -> None:
        """Take a new name. Called with every new connection, and where the lease was lost."""
        left = self.process or None
        if left is not None:
            self._left.append(left)
        self.process = secrets.token_hex(8)
        self._is_first = True
        self._generation = None
        self._on_new_process(left)

    def beat_soon(self) -> None:
        """Beat at once, and not when the next beat is due."""
        self._wake.set()

    def on_beat(self, channel: str, data: bytes) -> None:
        """Take a beat that came back."""
        if channel == self.channel:
            self._heard_at = time.monotonic()
            self._heard_process = self.process

    async def run(self) -> None:
        """Beat. Runs until cancelled."""
        while True:
            if self._commands.is_connected:
                try:
                    await self._beat()
                except Unavailable:
                    pass  # a new connection calls `begin`
                if self.silent_s:
                    self._on_silence()
            self._wake.clear()
            try:
                async with asyncio.timeout(_BEAT_S * random.uniform(0.8, 1.2)):  # nosec B311  # spreads the beats of all processes
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _beat(self) -> None:
        self._number += 1
        process = self.process
        generation, was_lost = await self._commands.call(
            scripts.BEAT, process, int(self._is_first), self._number, _LEASE_MS, self._grace_ms, self._history_ms
        )
        if process != self.process:
            return  # a new connection was made meanwhile
        self._is_first = False
        if was_lost or self._generation not in (None, generation):
            self.begin()
            return
        self._generation = generation
        while self._left:
            # What the names before this one had belongs to this one now, and was entered before this.
            await self._end(self._left[-1])
            self._left.pop()

    async def _end(self, process: str) -> None:
        while await self._commands.call(scripts.END_PROCESS, process, self._grace_ms, self._history_ms):
            pass

    async def end(self) -> None:
        """Give the lease back, and what this process had. Raises `Unavailable`: then the lease ends by itself."""
        if self.process:
            await self._end(self.process)
