"""`roster` as a process of its own."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass
from typing import IO, Final

from tests.support.forked import Forked, fork

_END_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Command:
    """A `roster …` that runs.

    Attributes:
        process: it; signals go to its `pid`.
    """

    process: Forked
    _output: IO[bytes]

    async def end(self) -> tuple[int, str]:
        """Its exit code and all that it wrote. Raises TimeoutError when it has not ended after 20 seconds."""
        with self._output:
            try:
                async with asyncio.timeout(_END_S):
                    code = await self.process.wait()
            except TimeoutError:
                self.process.kill_group()
                raise TimeoutError(self._text()) from None
            return code, self._text()

    def _text(self) -> str:
        self._output.seek(0)
        return self._output.read().decode()


async def start_command(*arguments: str, stdin: str = "", **environment: str) -> Command:
    """Start `roster` with these arguments, in this environment and no other variable."""
    output = tempfile.TemporaryFile()  # noqa: SIM115  # `end` closes it
    with tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        process = await fork(
            _run, arguments,
            folder=tempfile.gettempdir(),  # where no `.env` lies
            environment=environment, stdin=given.fileno(), stdout=output.fileno(), stderr=output.fileno(),
        )  # fmt: skip
    return Command(process, output)


async def run_command(*arguments: str, stdin: str = "", **environment: str) -> tuple[int, str]:
    """Run it to its end: the exit code and all that it wrote."""
    return await (await start_command(*arguments, stdin=stdin, **environment)).end()


def _run(arguments: tuple[str, ...]) -> None:
    from service.__main__ import main

    sys.argv = ["roster", *arguments]
    main()
