"""Ports for what cannot be told to take any."""

from __future__ import annotations

import socket


def free_port(address: str = "127.0.0.1") -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port
