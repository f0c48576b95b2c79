"""The service as it is deployed: a process of its own, under gunicorn, with the configuration that is shipped."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

import aiohttp
from aiohttp import web

from tests.support.forked import Forked, fork, run_python
from tests.support.server import ADMIN_PASSWORD, Server
from tests.support.wait import until

ROOT: Final = Path(__file__).parent.parent.parent
COMMAND: Final = ("-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py"))

_START_S: Final = 20.0
SETTINGS_OF_PROCESSES: Final = {
    "ROSTER_PORT": "0",
    "ROSTER_ADMIN_PASSWORD": ADMIN_PASSWORD,
    "ROSTER_JWT_SECRET": "a secret of tests, of 32 bytes at least",
    "ROSTER_LOG_FORMAT": "json",
    "ROSTER_METRICS_TOKEN": "none",
    "ROSTER_DRAIN_SPREAD_S": "0.2",
    "ROSTER_SHUTDOWN_TIMEOUT_S": "2",
}


class Gunicorn:
    """A master with its worker, listening. `server` speaks to it; its `app` is empty, the real one is over there."""

    def __init__(self, process: Forked, stderr: IO[bytes], server: Server) -> None:
        self.server = server
        self._process = process
        self._stderr = stderr

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the master."""
        self._process.send_signal(number)

    async def exit_code(self, timeout_s: float) -> int:
        """The exit code of the master; TimeoutError if it does not end."""
        async with asyncio.timeout(timeout_s):
            return await self._process.wait()

    @property
    def worker(self) -> int:
        """The process that serves."""
        (child,) = self.workers
        return child

    @property
    def workers(self) -> list[int]:
        """The processes that serve, or are about to, or still do: two during a reload. The oldest comes first."""
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def rss_bytes(self) -> int:
        """Memory that the worker holds."""
        return int(Path(f"/proc/{self.worker}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def descriptors(self) -> int:
        """Files and sockets that the worker has open."""
        return len(os.listdir(f"/proc/{self.worker}/fd"))

    def sockets_of(self, pid: int) -> int:
        """TCP connections that were accepted by one of the workers."""
        links = (os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink())
        inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
        port = f"{self.server.port:04X}"
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return sum(row[3] == "01" and row[1].endswith(f":{port}") and row[9] in inodes for row in rows)

    async def all_serve(self, workers: int) -> None:
        """Return when so many workers have said that they serve."""
        await until(lambda: self.log().count('"serving"') >= workers, timeout=_START_S)

    def log(self) -> str:
        """All that was written to stderr so far."""
        return _text(self._stderr)


@asynccontextmanager
async def gunicorn(**settings: str) -> AsyncIterator[Gunicorn]:
    """Run it until the end of the block, with these variables: `gunicorn(ROSTER_SSE_KEEPALIVE_S="1")`."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as stderr:
        process = await start(*COMMAND, folder=folder, stderr=stderr, **settings)
        try:
            port = await _port(process, stderr)
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:
                yield Gunicorn(process, stderr, Server(web.Application(), port, session))
        finally:
            process.kill_group()
            await process.wait()


async def finished(*command: str, **settings: str) -> tuple[int, str]:
    """Run Python with `command`, which must end by itself; its exit code and what it wrote to stderr."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as stderr:
        process = await start(*command, folder=folder, stderr=stderr, **settings)
        try:
            async with asyncio.timeout(_START_S):
                code = await process.wait()
        finally:
            process.kill_group()
        return code, _text(stderr)


async def start(*command: str, folder: str, stderr: IO[bytes], **settings: str) -> Forked:
    """Start Python in `folder`, where no `.env` lies, with the settings of tests and none of this machine."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ROSTER_", "GUNICORN_"))}
    environment = {**environ, "PYTHONPATH": str(ROOT), **SETTINGS_OF_PROCESSES, **settings}
    return await fork(run_python, *command, folder=folder, environment=environment, stderr=stderr.fileno())


async def _port(process: Forked, stderr: IO[bytes]) -> int:
    def listening() -> re.Match[str] | None:
        return re.search(r"Listening at: http://127\.0\.0\.1:([0-9]+)", _text(stderr))

    await until(lambda: listening() or process.returncode is not None, timeout=_START_S)
    found = listening()
    assert found, _text(stderr)
    return int(found[1])


def _text(file: IO[bytes]) -> str:
    # At a place of its own: the process shares the file's, and would go on writing where we stopped reading.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()
