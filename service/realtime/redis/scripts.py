"""The scripts that run in Redis, each in a file of its own."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis.asyncio.connection import Connection

_FOLDER: Final = Path(__file__).parent / "scripts"
_PRELUDE: Final = (_FOLDER / "prelude.lua").read_text()


@dataclass(frozen=True, slots=True)
class Script:
    """A script, known to the server by its digest once it is loaded."""

    text: str
    sha: str


def _script(name: str) -> Script:
    text = _PRELUDE + (_FOLDER / f"{name}.lua").read_text()
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


SEND: Final = _script("send")
ATTACH: Final = _script("attach")
DETACH: Final = _script("detach")
COMPARE: Final = _script("compare")
ENTER: Final = _script("enter")
LEAVE: Final = _script("leave")
RENAME: Final = _script("rename")
BEAT: Final = _script("beat")
END_PROCESS: Final = _script("end_process")
LIST_ROOMS: Final = _script("list_rooms")
LIST_MEMBERS: Final = _script("list_members")
COUNT_CONNECTIONS: Final = _script("count_connections")

ALL: Final = tuple(value for value in globals().values() if isinstance(value, Script))


def generate_word() -> bytes:
    """A random word of 8 letters and digits, for an epoch that may begin."""
    return base64.b32encode(os.urandom(5)).lower()


async def load_scripts(connection: Connection) -> None:
    """Make all scripts known to the server of a connection. Raises `redis.exceptions.RedisError`."""
    commands = [("SCRIPT", "LOAD", script.text) for script in ALL]
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    for _ in commands:
        await connection.read_response()
