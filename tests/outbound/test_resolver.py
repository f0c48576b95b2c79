from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.outbound.resolver import Lookup, ThreadResolver


@contextlib.asynccontextmanager
async def resolver(lookup: Lookup, **bounds: int) -> AsyncIterator[ThreadResolver]:
    resolver = ThreadResolver(lookup=lookup, **bounds)
    try:
        yield resolver
    finally:
        await resolver.close()


async def test_name_becomes_addresses() -> None:
    """Every address comes with host, port and family, IPv6 ones with their interface."""

    def lookup(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 80, 0, 0)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 2)),
        ]

    async with resolver(lookup) as names:
        found = await names.resolve("upstream.example", 80)

    assert [(address["host"], address["port"]) for address in found] == [
        ("192.0.2.1", 80),
        ("2001:db8::1", 80),
        ("fe80::1%2", 80),
    ]
    assert {address["hostname"] for address in found} == {"upstream.example"}


async def test_system_is_asked_by_default() -> None:
    """Without a look-up of its own it asks the system."""
    names = ThreadResolver()
    try:
        found = await names.resolve("127.0.0.1", 80)
    finally:
        await names.close()

    assert [address["host"] for address in found] == ["127.0.0.1"]


async def test_hanging_lookups_block_no_other() -> None:
    """With every thread of names stuck, the default executor still works, and what would wait too long is refused."""
    gate = threading.Event()

    def lookup(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        gate.wait(10)
        return []

    async with resolver(lookup, threads=32, queue=1) as names:
        # The default executor has no more than 32 threads.
        hanging = [asyncio.create_task(names.resolve(f"{n}.example")) for n in range(33)]
        await asyncio.sleep(0)
        try:
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
            with pytest.raises(OSError, match="too many names"):
                await names.resolve("one.more.example")
        finally:
            gate.set()
        assert await asyncio.gather(*hanging) == [[]] * 33
        assert await names.resolve("again.example") == []


async def test_unknown_name_is_an_error() -> None:
    """The error of a look-up is raised."""

    def lookup(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with resolver(lookup) as names:
        with pytest.raises(socket.gaierror):
            await names.resolve("nowhere.example")
