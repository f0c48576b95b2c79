"""The proxies of `deploy/`, as they are shipped; only addresses and paths are replaced."""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from service.store.memory.store import MemoryStore
from tests.support.certificates import ONE
from tests.support.hosts import ADDRESS, host
from tests.support.ports import free_port
from tests.support.programs import find_program
from tests.support.server import Server
from tests.support.wait import until

_DEPLOY: Final = Path(__file__).parents[2] / "deploy"
_UPSTREAM: Final = "127.0.0.1:8080"
# A client with another address than the proxy's: otherwise the two could not be distinguished.
CLIENT: Final = "127.0.0.2"

# For `parametrize`: each is left out where it is not installed.
PROXIES: Final = [pytest.param(name, marks=pytest.mark.proxy(name)) for name in ("nginx", "haproxy", "caddy")]

_TLS: Final = ssl.create_default_context(cafile=str(ONE))


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy that listens.

    Attributes:
        upstream_port: where it expects Roster.
    """

    name: str
    url: str
    upstream_port: int

    def host(self, store: MemoryStore, **options: Any) -> AbstractAsyncContextManager[Server]:
        """Serve this store where the proxy expects Roster, until the end of the block; its session goes past the proxy."""
        return host(store, self.upstream_port, trusted_proxies=["127.0.0.1/32"], **options)

    def session(self) -> aiohttp.ClientSession:
        """A client outside; close it."""
        connector = aiohttp.TCPConnector(limit=0, ssl=_TLS, local_addr=(CLIENT, 0))
        return aiohttp.ClientSession(self.url, connector=connector, timeout=aiohttp.ClientTimeout(20))


@asynccontextmanager
async def run_proxy(name: str, *, read_timeout: str | None = None) -> AsyncIterator[RunningProxy]:
    """Run nginx, haproxy or caddy with its file of `deploy/` until the end of the block; Roster need not run yet.

    Args:
        read_timeout: how long nginx or haproxy waits for an answer where the shipped file says nothing else; None: as ever.
    """
    port, upstream = free_port(), free_port(ADDRESS)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        command, scheme = _PREPARE[name](Path(folder), port, upstream, read_timeout)
        program = find_program(command[0])
        assert program is not None
        process = await asyncio.create_subprocess_exec(
            program,
            *command[1:],
            cwd=folder,
            env={"HOME": folder},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            await until(lambda: _is_listening(process, port), timeout=10)
            assert process.returncode is None, os.pread(log.fileno(), 10_000, 0).decode()
            yield RunningProxy(name, f"{scheme}://127.0.0.1:{port}", upstream)
        finally:
            with suppress(ProcessLookupError):
                process.kill() if name != "nginx" else process.terminate()  # its master has workers to end
            await process.wait()


async def _is_listening(process: Process, port: int) -> bool:
    if process.returncode is not None:
        return True
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.transport.abort()
    return True


def _write(source: str, target: Path, replacements: Mapping[str, str]) -> Path:
    text = (_DEPLOY / source).read_text(encoding="utf-8")
    for shipped, here in replacements.items():
        assert shipped in text, f"{source} has no {shipped}"
        text = text.replace(shipped, here)
    target.write_text(text, encoding="utf-8")
    return target


def _prepare_nginx(folder: Path, port: int, upstream: int, read_timeout: str | None) -> tuple[list[str], str]:
    _write(
        "nginx.conf",
        folder / "roster.conf",
        {
            "listen 80;": f"listen 127.0.0.1:{free_port()};",
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/roster.pem": str(ONE),
            "/etc/ssl/roster.key": str(ONE),
            _UPSTREAM: f"{ADDRESS}:{upstream}",
        },
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    extra = f"proxy_read_timeout {read_timeout};" if read_timeout else ""
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log stderr; events {{}}"
        f"http {{ access_log off; {temporary} {extra} include {folder}/roster.conf; }}"
    )
    folder.chmod(0o755)  # its workers are not root
    return ["nginx", "-p", str(folder), "-c", str(main)], "https"


def _prepare_haproxy(folder: Path, port: int, upstream: int, read_timeout: str | None) -> tuple[list[str], str]:
    file = _write(
        "haproxy.cfg",
        folder / "haproxy.cfg",
        {
            "bind :80\n": f"bind 127.0.0.1:{free_port()}\n",
            "bind :443": f"bind 127.0.0.1:{port}",
            "/etc/haproxy/roster.pem": str(ONE),
            "timeout server 60s": f"timeout server {read_timeout or '60s'}",
            _UPSTREAM: f"{ADDRESS}:{upstream}",
        },
    )
    return ["haproxy", "-db", "-f", str(file)], "https"


def _prepare_caddy(folder: Path, port: int, upstream: int, _: str | None) -> tuple[list[str], str]:
    file = _write(
        "Caddyfile",
        folder / "Caddyfile",
        {"roster.example.com {": f"http://127.0.0.1:{port} {{", _UPSTREAM: f"{ADDRESS}:{upstream}"},
    )
    file.write_text("{\n\tadmin off\n}\n" + file.read_text())
    return ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"], "http"


_PREPARE: Final[Mapping[str, Callable[[Path, int, int, str | None], tuple[list[str], str]]]] = {
    "nginx": _prepare_nginx,
    "haproxy": _prepare_haproxy,
    "caddy": _prepare_caddy,
}
