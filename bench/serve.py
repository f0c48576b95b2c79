"""A server as a child process: pinned, on a free loopback port, its output in a file, stopped whatever happens."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.cores import visiting

ROOT: Final = Path(__file__).parent.parent
HOST: Final = "127.0.0.1"

_START_TIMEOUT_S: Final = 20
_STOP_TIMEOUT_S: Final = 10
_TAIL_LINES: Final = 15


class NotServing(Exception):
    """A server did not come up or did not stay; `str()` says which and shows the end of its output."""


class Server:
    """A running server.

    Attributes:
        port: on loopback.
        log_lines: lines seen by `trim_log` so far, those of the start included.
    """

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.port = port
        self.log_lines = 0
        self._process = process
        self._log = log

    @property
    def cpu_s(self) -> float | None:
        """Processor time used since the start, all threads, its workers included, in seconds; None where the system does not tell."""
        pid = self._process.pid
        try:
            workers = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())
            ticks = _ticks(pid) + sum(map(_ticks, workers))
        except OSError:
            return None
        return ticks / os.sysconf("SC_CLK_TCK")

    @property
    def rss_bytes(self) -> int | None:
        """Resident memory; None where the system does not tell."""
        try:
            statm = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii")
        except OSError:
            return None
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def trim_log(self) -> None:
        """Count the lines of the log and empty it. The server appends, so it goes on at the new end."""
        with self._log.open("r+b") as log:
            while block := log.read(1 << 20):
                self.log_lines += block.count(b"\n")
            log.truncate(0)

    def wait_until_listening(self) -> None:
        """Return when the port takes connections; raises `NotServing` when the process ends or takes too long."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
                return
            time.sleep(0.02)
        self.check_running()
        raise NotServing(f"{self.name} does not listen on port {self.port}:\n{self._tail()}")

    def check_running(self) -> None:
        """Raise `NotServing` if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise NotServing(f"{self.name} ended with code {code}:\n{self._tail()}")

    def stop(self) -> None:
        """Ask the process to end, and end it when it does not; what it logs last is counted."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.trim_log()

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])


def _ticks(pid: int) -> int:
    # The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it (proc(5)).
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextmanager
def serving(
    name: str,
    arguments: Sequence[str],
    port: int,
    core: int | Collection[int] | None,
    environ: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    root: Path = ROOT,
) -> Iterator[Server]:
    """Run `python` with these arguments until the block ends; the port listens when the block begins.

    Args:
        environ: variables beside those of this process, of which every `ROSTER_…` is taken away.
        stdin: what the server reads at its start; at most a pipe's buffer, 64 KiB on Linux.
        root: the checkout whose modules it imports.

    Raises `NotServing`.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ROSTER_")}
    # Its own folder, so that a developer's .env does not decide what is measured.
    with TemporaryDirectory(prefix="roster-bench-") as folder:
        log = Path(folder, "output.log")
        with log.open("ab") as output, visiting(core):
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env={**inherited, "PYTHONPATH": str(root), **(environ or {})},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = Server(name, port, process, log)
        try:
            if process.stdin is not None:
                with suppress(BrokenPipeError), process.stdin as pipe:
                    pipe.write(stdin)
            server.wait_until_listening()
            yield server
        finally:
            server.stop()


def free_port() -> int:
    """A port that nothing listens on. Another process may take it first: the server then ends, and says so."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
