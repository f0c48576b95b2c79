"""Programs of `examples/`, run as a reader of the documentation runs them."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tests.support.server import PASSWORD, Server

EXAMPLES: Final = Path(__file__).parents[2] / "examples"


class Example:
    """A running program that prints one line for each thing it receives."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lines: list[str] = []
        self._process = process

    async def next(self, timeout_s: float = 15.0) -> str:
        """Its next line; AssertionError with its stderr if it ends instead."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async with asyncio.timeout(timeout_s):
            line = (await self._process.stdout.readline()).decode().rstrip("\n")
            assert line, f"it ended: {(await self._process.stderr.read()).decode()}"
        self.lines.append(line)
        return line

    async def until(self, start: str) -> str:
        """Its next line that begins with this, whatever it prints before."""
        while not (line := await self.next()).startswith(start):
            pass
        return line

    async def exit(self, timeout_s: float = 15.0) -> tuple[int, str]:
        """Its exit code and what it wrote to stderr, once it has ended by itself."""
        async with asyncio.timeout(timeout_s):
            _, stderr = await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode, stderr.decode()


@asynccontextmanager
async def run_example(server: Server, username: str, *command: str, **environment: str) -> AsyncIterator[Example]:
    """Run a command in `examples/` as this user until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=EXAMPLES,
        env={
            "PATH": os.environ["PATH"],
            "ROSTER": server.url,
            "LOGIN": username,
            "PASSWORD": PASSWORD,
            **environment,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield Example(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
