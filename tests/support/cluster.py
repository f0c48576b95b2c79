"""Two hosts of two workers each, on PostgreSQL and Valkey from wheels: `python -m tests.support.cluster`, which `make cluster` runs.

A small balancer stands in front of both, so that one port serves all four workers.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from tests.support.gunicorn import COMMAND, ROOT
from tests.support.ports import free_port
from tests.support.postgres import postgres
from tests.support.redis import find_valkey, redis_server

_PIECE_BYTES: Final = 65_536
_CONNECT_S: Final = 1.0


class Balancer:
    """Passes each connection to the next host that accepts one."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._next = itertools.cycle(range(len(ports)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward = await self._connect()
            if onward is not None:
                await asyncio.gather(_pass_on(reader, onward[1]), _pass_on(onward[0], writer))
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._ports:
            with suppress(OSError):
                async with asyncio.timeout(_CONNECT_S):
                    return await asyncio.open_connection("127.0.0.1", self._ports[next(self._next)])
        return None


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    writer.close()


@contextmanager
def hosts(count: int, workers: int) -> Iterator[list[int]]:
    """So many gunicorn masters that share one PostgreSQL and one Valkey, as their ports."""
    with ExitStack() as stack:
        shared = {
            "ROSTER_STORE_URL": stack.enter_context(postgres(lasting=True)),
            "ROSTER_REDIS_URL": stack.enter_context(redis_server(find_valkey())).url,
            "ROSTER_WORKERS": str(workers),
            "ROSTER_TRUSTED_PROXIES": "127.0.0.1/32",
            "PYTHONPATH": str(ROOT),
        }
        ports = [free_port() for _ in range(count)]
        for port in ports:
            master = subprocess.Popen(
                [sys.executable, *COMMAND], env={**os.environ, **shared, "ROSTER_PORT": str(port)}, cwd=ROOT
            )
            stack.callback(master.wait)
            stack.callback(master.terminate)
        yield ports


async def balance(port: int, ports: Sequence[int]) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(Balancer(ports).serve, "127.0.0.1", port)
    shown = " and ".join(str(one) for one in ports)
    sys.stdout.write(f"\n  Two hosts serve on http://127.0.0.1:{port}; alone they listen on {shown}\n\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="port of the balancer (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="workers of each host (%(default)s)")
    options = parser.parse_args()
    os.environ.setdefault("ROSTER_ADMIN_PASSWORD", "a password for trying")
    with hosts(2, options.workers) as ports:
        asyncio.run(balance(options.port, ports))


if __name__ == "__main__":
    main()
