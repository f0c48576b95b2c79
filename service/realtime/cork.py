"""Bytes that leave together: what is written piece by piece as one segment."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

_CORK: Final[int | None] = getattr(socket, "TCP_CORK", None)  # Linux has it


def cork(transport: asyncio.Transport | None) -> None:
    """Tell the kernel to hold written bytes until `uncork`; it sends them after 200 ms by itself (tcp(7)).

    Harmless where the system cannot, and where the connection is gone.
    """
    _set(transport, True)


def uncork(transport: asyncio.Transport | None) -> None:
    """Have it leave, and all that follows leave at once. Harmless where nothing was corked."""
    _set(transport, False)


def _set(transport: asyncio.Transport | None, corked: bool) -> None:
    peer = None if transport is None else transport.get_extra_info("socket")
    if _CORK is not None and peer is not None:
        with contextlib.suppress(OSError):  # gone already, or no TCP
            peer.setsockopt(socket.IPPROTO_TCP, _CORK, corked)
