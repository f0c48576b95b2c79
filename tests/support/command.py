"""`roster` as a process of its own, forked from one that has imported it: a start takes 10 ms instead of 800."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

_PRELOADED: Final = (
    "service.__main__",
    "service.server.serve",
    "service.store.sql.migrate",
    "service.store.postgres.store",
    "service.store.sqlite.store",
)
_END_S: Final = 20.0

_forks: Final = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(list(_PRELOADED))


@dataclass(frozen=True, slots=True)
class Command:
    """A `roster …` that runs.

    Attributes:
        process: it; signals go to its `pid`.
    """

    process: ForkServerProcess
    _output: Path

    async def end(self) -> tuple[int, str]:
        """Its exit code and all that it wrote. Raises TimeoutError when it has not ended after 20 seconds."""
        await asyncio.to_thread(self.process.join, _END_S)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(self._output.read_text())
        code, text = self.process.exitcode, self._output.read_text()
        self._output.unlink()
        return code, text


async def start_command(*arguments: str, stdin: str = "", **environment: str) -> Command:
    """Start `roster` with these arguments, in this environment and no other variable."""
    descriptor, output = tempfile.mkstemp(prefix="roster-command-")
    os.close(descriptor)
    process = _forks.Process(target=_run, args=(arguments, environment, stdin, output))
    await asyncio.to_thread(process.start)
    return Command(process, Path(output))


async def run_command(*arguments: str, stdin: str = "", **environment: str) -> tuple[int, str]:
    """Run it to its end: the exit code and all that it wrote."""
    return await (await start_command(*arguments, stdin=stdin, **environment)).end()


def _run(arguments: tuple[str, ...], environment: dict[str, str], stdin: str, output: str) -> None:
    from service.__main__ import main

    written = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    with tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        os.dup2(given.fileno(), 0)
    sys.stdin = io.TextIOWrapper(
        io.FileIO(0, closefd=False), encoding="utf-8"
    )  # multiprocessing has put /dev/null there
    os.chdir(tempfile.gettempdir())  # where no `.env` lies
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["roster", *arguments]
    main()
