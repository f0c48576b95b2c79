"""The keys of access tokens, as this process knows them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from service.domain.auth.signing_key import SigningKey, checks_until, signer
from service.domain.errors import Unavailable
from service.domain.ports import Clock
from service.security.keys import AccessTokenKey, load_key

RELOAD_INTERVAL_S: Final = 2.0  # for keys that another process made

log = logging.getLogger("roster.keys")


class Keyring:
    """Knows which key signs now, and which ones verify.

    Every process knows a key for a while before it signs. A key verifies until the last token that it signed has expired. So a
    rotation rejects no token anywhere.

    Args:
        ttl_s: life of a token, in seconds.
        read: where the keys are kept, which other processes may change; None where they never change.
    """

    def __init__(
        self,
        ttl_s: float,
        clock: Clock,
        read: Callable[[], Awaitable[Sequence[SigningKey]]] | None = None,
    ) -> None:
        self._ttl = timedelta(seconds=ttl_s)
        self._clock = clock
        self._read = read
        self._loss_listeners: list[Callable[[], None]] = []
        self._kept: tuple[SigningKey, ...] = ()
        self._ready: dict[str, AccessTokenKey] = {}
        self._until: dict[str, datetime | None] = {}
        self._reload_lock = asyncio.Lock()
        self._reloaded_at = -RELOAD_INTERVAL_S

    def add_loss_listener(self, listener: Callable[[], None]) -> None:
        """Call it when a key was removed before its tokens expired, so that they are invalid."""
        self._loss_listeners.append(listener)

    def use(self, kept: Sequence[SigningKey]) -> None:
        """Sign and check with these keys from now on. Raises `UnusableKey`."""
        kept = tuple(kept)
        if kept == self._kept:
            return
        lost = {kid for kid in self._ready if self.checking(kid) is not None} - {key.kid for key in kept}
        self._ready = {key.kid: self._ready.get(key.kid) or load_key(key) for key in kept}
        self._until = {key.kid: checks_until(key, kept, self._ttl) for key in kept}
        self._kept = kept
        if lost:
            log.warning("signing keys removed early; their access tokens are invalid", extra={"kids": sorted(lost)})
            for listener in self._loss_listeners:
                listener()

    @property
    def is_kept(self) -> bool:
        """Whether its keys are kept where other processes may change them."""
        return self._read is not None

    @property
    def signing(self) -> AccessTokenKey:
        """The key that signs now."""
        key = signer(self._kept, self._clock())
        if key is None:
            raise LookupError("there is no key that signs yet")
        return self._ready[key.kid]

    def checking(self, kid: str) -> AccessTokenKey | None:
        """The key of that name; None for one that is unknown, or whose last token has expired."""
        until = self._until.get(kid)
        return None if until is not None and until <= self._clock() else self._ready.get(kid)

    @property
    def published(self) -> list[Mapping[str, str]]:
        """The public keys that verify tokens, those that will sign soon included, as JWKs (RFC 7517)."""
        keys = (self.checking(kid) for kid in self._ready)
        return [key.public for key in keys if key is not None and key.public is not None]

    async def find(self, kid: str) -> bool:
        """Whether there is a key of that name, after reading the keys again if it is unknown.

        The keys are read at most once in `RELOAD_INTERVAL_S`, whatever the number of callers. Raises `Unavailable`; may be cancelled.
        """
        async with self._reload_lock:  # callers that wait here have the same question
            if self.checking(kid) is None and time.monotonic() - self._reloaded_at >= RELOAD_INTERVAL_S:
                await self.reload()
        return self.checking(kid) is not None

    async def reload(self) -> None:
        """Read the keys again. Raises `Unavailable`."""
        before, self._reloaded_at = self._reloaded_at, time.monotonic()
        try:
            # An operator may have emptied the table by hand; that must not lock out every user.
            if self._read is not None and (kept := await self._read()):
                self.use(kept)
        except asyncio.CancelledError:
            self._reloaded_at = before  # the next waiting caller reads instead
            raise

    async def follow(self) -> None:
        """Read the keys every two seconds until cancelled. While they cannot be read, the known ones stay in use."""
        failing = False
        while True:
            await asyncio.sleep(RELOAD_INTERVAL_S)
            try:
                await self.reload()
                failing = False
            except Unavailable:
                continue  # the hub cannot follow the log either, and logs it
            except Exception:
                if not failing:
                    log.exception("signing keys cannot be read; the known ones stay in use")
                failing = True
