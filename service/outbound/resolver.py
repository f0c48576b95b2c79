"""Names to addresses, in threads of its own."""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

Lookup = Callable[..., Sequence[tuple[Any, ...]]]
"""`socket.getaddrinfo`, or what stands for it."""

# An address needs no second look-up: the connector hands it to the kernel as it is.
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class ThreadResolver(AbstractResolver):
    """Looks names up like the system does.

    aiohttp's own resolver shares the default executor, where a few look-ups that hang on a dead name server block
    everything else that runs there. A look-up cannot be stopped; the connector asks for one name once at a time, so
    a dead name costs one thread.

    Args:
        threads: look-ups at the same time.
        queue: look-ups that may wait for a thread; over it OSError.
    """

    def __init__(self, *, threads: int = 8, queue: int = 64, lookup: Lookup = socket.getaddrinfo) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="names")
        self._bound = threads + queue
        self._pending = 0
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if self._pending >= self._bound:
            raise OSError(errno.EAGAIN, "too many names wait to be looked up")
        self._pending += 1
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._executor,
                functools.partial(
                    self._lookup, host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                ),
            )
        finally:
            self._pending -= 1
        return [
            ResolveResult(
                hostname=host, host=_address(info[4]), port=info[4][1], family=info[0], proto=info[2], flags=_NUMERIC
            )
            for info in found
        ]

    async def close(self) -> None:
        """Stop the threads; look-ups that have not started are dropped. Safe to call twice."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _address(address: tuple[Any, ...]) -> str:
    # A link-local IPv6 address means nothing without its interface.
    host = str(address[0])
    return f"{host}%{address[3]}" if len(address) == 4 and address[3] and "%" not in host else host
