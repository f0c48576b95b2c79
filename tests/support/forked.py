"""Python programs as processes of their own, forked from one that has imported the service: a start takes 10 ms instead of 800."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.context import ForkServerProcess
from typing import Any, Final

_PRELOADED: Final = (
    "gunicorn.app.wsgiapp",
    "service.__main__",
    "service.server.gunicorn_worker",
    "service.server.serve",
    "service.store.maintenance.copying",
    "service.store.sql.migrate",
    "service.store.postgres.store",
    "service.store.sqlite.store",
    "tests.support.forked",
)

_forks: Final = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(list(_PRELOADED))


class Forked:
    """A process that runs, with the members of `asyncio.subprocess.Process` that tests use."""

    def __init__(self, process: ForkServerProcess) -> None:
        assert process.pid is not None
        self.pid: Final = process.pid
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(process.sentinel, self._take_exit_code)

    @property
    def returncode(self) -> int | None:
        """Its exit code, below 0 for a signal; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """The exit code, when it has ended; cancelling is safe."""
        return await asyncio.shield(self._ended)

    def send_signal(self, number: int) -> None:
        """Send it a signal; without effect on one that has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def kill_group(self) -> None:
        """End it and the processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.kill()  # it may not have had the time to begin a group of its own

    def _take_exit_code(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._process.join()
        code = self._process.exitcode
        assert code is not None
        self._process.close()
        self._ended.set_result(code)


async def fork(
    run: Callable[..., object],
    *given: Any,
    folder: str,
    environment: dict[str, str],
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int,
) -> Forked:
    """Call `run(*given)`, which pickle must find by its name, in a process and a process group of its own.

    Args:
        environment: its variables, and no other.
        stdin, stdout, stderr: descriptors, which the process shares; None for `/dev/null`.
    """
    files = [None if number is None else _Descriptor(number) for number in (stdin, stdout, stderr)]
    process = _forks.Process(target=_enter, args=(run, given, folder, environment, files))
    await asyncio.to_thread(process.start)
    return Forked(process)


class _Descriptor:
    """A descriptor of a file, which the process receives a copy of."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive, (reduction.DupFd(self.number),)


def _receive(sent: Any) -> _Descriptor:
    return _Descriptor(sent.detach())


def run_python(*arguments: str) -> None:
    """What `python -m module …` and `python -c script …` do."""
    option, program, *rest = arguments
    if option == "-c":
        sys.argv = ["-c", *rest]
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    else:
        assert option == "-m", arguments
        sys.argv = [program, *rest]
        sys.modules.pop(f"{program}.__main__", None)  # it would be warned of
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def _enter(
    run: Callable[..., object],
    given: tuple[Any, ...],
    folder: str,
    environment: dict[str, str],
    files: list[_Descriptor | None],
) -> None:
    os.setsid()  # so that no process that this one starts outlives a failed test
    for number, file in enumerate(files):
        opened = os.open(os.devnull, os.O_RDWR) if file is None else file.number
        os.dup2(opened, number)
        os.close(opened)
    # multiprocessing has put /dev/null there.
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    run(*given)
