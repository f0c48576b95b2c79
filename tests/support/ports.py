"""Ports for programs that cannot choose a free one themselves."""

from __future__ import annotations

import itertools
import os
import socket
from typing import Final

# Below those that kernels assign, and separate for each process of a run: between the check and the use no other process
# takes one.
_FIRST: Final = 12_000
_OF_A_PROCESS: Final = 2_000
_start: Final = _FIRST + _OF_A_PROCESS * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_numbers: Final = (_start + number % _OF_A_PROCESS for number in itertools.count(os.getpid()))  # two runs begin apart


def free_port(address: str = "127.0.0.1") -> int:
    """A port that is free now, and that no other test of this run gets."""
    for port in itertools.islice(_numbers, _OF_A_PROCESS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that only waits for late segments is free
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")
