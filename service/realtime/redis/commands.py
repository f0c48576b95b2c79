"""RedisCommands to Redis: those of one turn of the event loop go as one pipeline."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from redis.asyncio.connection import Connection
from redis.exceptions import NoScriptError, ResponseError

from service.domain.errors import Unavailable
from service.realtime.redis.connection import NOT_IN_CHARGE, abort, create_connection, keep_connected
from service.realtime.redis.scripts import Script, generate_word, load_scripts
from service.telemetry.quiet import Quiet

log = logging.getLogger("roster")

_MOST_WAITING: Final = 10_000


class _Call(NamedTuple):
    script: Script
    arguments: tuple[str | bytes | int, ...]
    reply: asyncio.Future[Any]


class RedisCommands:
    """One connection on which scripts run, in the order of their calls.

    A call while there is no connection, and one whose connection fails before its answer, raises `Unavailable`; in the second
    case the server may have run it.

    Args:
        prefix: of every key.
        on_connected: called after each connection is made, before the first script runs on it.
        on_lost: called with the reason when a connection fails or cannot be made.
    """

    def __init__(
        self,
        url: str,
        ca_file: str | None,
        prefix: str,
        on_connected: Callable[[], None],
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._url = url
        self._ca_file = ca_file
        self.prefix = prefix
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._run_id = b""
        self._is_connected = False
        self._waiting: list[_Call] = []
        self._unanswered: deque[_Call] = deque()
        self._refusals = Quiet()
        self._has_waiting = asyncio.Event()
        self._has_unanswered = asyncio.Event()
        self._connection: Connection | None = None

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    def call(self, script: Script, *arguments: str | bytes | int) -> asyncio.Future[Any]:
        """Queue a script; the future gets its answer within two seconds. Cancelling the future does not stop the script."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._is_connected or len(self._waiting) + len(self._unanswered) >= _MOST_WAITING:
            reply.set_exception(Unavailable(sentence="Redis cannot be reached."))
            return reply
        self._waiting.append(_Call(script, arguments, reply))
        self._has_waiting.set()
        return reply

    async def run(self) -> None:
        """Keep connected. Runs until cancelled."""
        try:
            await keep_connected(self._serve, self._on_lost)
        finally:
            self._fail_all()

    def reconnect(self) -> None:
        """Drop the connection: what it is connected to is not the server that it should be."""
        if self._connection is not None:
            abort(self._connection)

    async def _serve(self) -> None:
        connection = create_connection(self._url, self._ca_file)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
            self._run_id = await _run_id(connection)
            await load_scripts(connection)
            self._connection, self._is_connected = connection, True
            self._on_connected()
            await _run_until_failure(self._write(connection), self._read(connection))
        finally:
            self._connection, self._is_connected = None, False
            self._fail_all()
            await connection.disconnect(nowait=True)

    def _fail_all(self) -> None:
        for call in (*self._unanswered, *self._waiting):
            if not call.reply.done():
                call.reply.set_exception(Unavailable(sentence="The connection to Redis failed before its answer."))
        self._unanswered.clear()
        self._waiting.clear()

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._has_waiting.wait()
            self._has_waiting.clear()
            calls, self._waiting = self._waiting, []
            self._unanswered.extend(calls)
            self._has_unanswered.set()
            await connection.send_packed_command(
                connection.pack_commands([self._command(call) for call in calls]), check_health=False
            )

    def _command(self, call: _Call) -> tuple[str | bytes | int, ...]:
        # The run id belongs to the connection on which the command goes out, so it is put in here.
        head = ("EVALSHA", call.script.sha, 1, self.prefix + "gen", self.prefix, self._run_id, generate_word())
        return (*head, *call.arguments)

    async def _read(self, connection: Connection) -> None:
        while True:
            while not self._unanswered:
                self._has_unanswered.clear()
                await self._has_unanswered.wait()
            try:
                answer = await connection.read_response(disable_decoding=True)
            except ResponseError as error:
                self._refuse(self._unanswered.popleft(), error)
            else:
                reply = self._unanswered.popleft().reply
                if not reply.done():
                    reply.set_result(answer)

    def _refuse(self, call: _Call, error: ResponseError) -> None:
        """Answer one call with an error. Raises it where a new connection is needed."""
        if not call.reply.done():
            call.reply.set_exception(Unavailable(sentence=f"Redis refused a command: {error}"))
        # After SCRIPT FLUSH the scripts are loaded again with a new connection.
        if isinstance(error, (NoScriptError, *NOT_IN_CHARGE)):
            raise error
        if self._refusals.is_due(type(error).__name__):
            log.error("Redis refused a command", extra={"error": str(error)})


async def _run_id(connection: Connection) -> bytes:
    await connection.send_command("INFO", "server", check_health=False)
    answer = await connection.read_response(disable_decoding=True)
    for line in bytes(answer).splitlines():
        if line.startswith(b"run_id:"):
            return line.removeprefix(b"run_id:")
    raise ResponseError("INFO server names no run_id")


async def _run_until_failure(writing: Coroutine[Any, Any, None], reading: Coroutine[Any, Any, None]) -> None:
    """Run both side by side until one fails, and raise its error."""
    tasks = (
        asyncio.create_task(writing, name="write commands to Redis"),
        asyncio.create_task(reading, name="read answers of Redis"),
    )
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    done.pop().result()
