"""PgBouncer in front of the tests' PostgreSQL, with its own defaults."""

from __future__ import annotations

import asyncio
import os
import pwd
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tests.support.ports import free_port
from tests.support.programs import find_program
from tests.support.wait import until


@asynccontextmanager
async def run_pgbouncer(url: str, mode: Literal["session", "transaction", "statement"]) -> AsyncIterator[str]:
    """Run PgBouncer before a database until the end of the block; its URL."""
    server, port = urlsplit(url), free_port()
    program = find_program("pgbouncer")
    assert program is not None
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile() as log:
        _configure(Path(name), server.hostname, server.port, port, mode)
        # It refuses to run as root.
        user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        process = await asyncio.create_subprocess_exec(
            program, f"{name}/pgbouncer.ini", stdout=log, stderr=log, user=user
        )
        try:
            await until(lambda: _is_listening(process, port), timeout=10)
            assert process.returncode is None, os.pread(log.fileno(), 10_000, 0).decode()
            yield f"postgresql://roster@127.0.0.1:{port}{server.path}"
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _is_listening(process: asyncio.subprocess.Process, port: int) -> bool:
    if process.returncode is not None:
        return True
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.transport.abort()
    return True


def _configure(folder: Path, host: str | None, port: int | None, listen_port: int, mode: str) -> None:
    folder.chmod(0o755)
    (folder / "users.txt").write_text('"roster" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={host} port={port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listen_port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {folder}/users.txt\npool_mode = {mode}\n"
    )
