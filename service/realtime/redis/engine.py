"""The room engine on Redis or Valkey: rooms that all processes share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from service.domain.errors import IdempotencyKeyReused, ResponseExpired, Unavailable
from service.domain.events.position import Position
from service.domain.idempotency.claims import Claim
from service.realtime.engine import MOST_NAMED_MEMBERS, Member, RoomMessage, RoomSubscriber, RoomSummary, SentMessage
from service.realtime.redis import scripts
from service.realtime.redis.attachment import Attachment
from service.realtime.redis.commands import RedisCommands
from service.realtime.redis.process_lease import ProcessLease
from service.realtime.redis.subscriptions import Subscriptions
from service.realtime.redis.wire import PublishedMessage, moment_of, read_members, read_published

log = logging.getLogger("roster")

PREFIX: Final = "roster:1:{0}:"
_CHANNEL: Final = f"{PREFIX}c:"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomLimits:
    """Bounds on messages and members.

    Attributes:
        history: messages of a room.
        history_s: seconds for which a silent room is kept that has no reader.
        most_bytes: of the histories of all rooms together.
        grace_s: seconds for which a member whose last connection closed stays a member.
    """

    history: int
    history_s: float
    grace_s: float
    most_bytes: int = 64 << 20


class RedisEngine:
    """Implements `service.realtime.engine.RoomEngine`.

    Messages are appended by a script that also publishes them. Each process follows the channels of the rooms that it reads.
    What a connection may have lost is read again with every new connection, and whenever a number is missing.

    Args:
        url: `redis://` or `rediss://`.
        ca_file: certificates that may have signed the server's; None for those of the system.
    """

    def __init__(self, url: str, ca_file: str | None, limits: RoomLimits) -> None:
        self._limits = limits
        self._commands = RedisCommands(url, ca_file, PREFIX, self._on_commands, self._on_lost)
        self._lease = ProcessLease(
            self._commands, limits.grace_s, limits.history_s, self._on_new_process, self._reconnect
        )
        self._subscriptions = Subscriptions(url, ca_file, self._on_published, self._compare_all, self._on_lost)
        self._attachments: dict[str, Attachment] = {}
        self._members: dict[tuple[str, UUID], str] = {}
        self._connections: dict[UUID, int] = {}
        self._sends: dict[str, asyncio.Future[SentMessage]] = {}
        self._next_send = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_down = False

    async def open(self) -> None:
        """Begin to connect. Returns at once: the service starts without Redis, and rooms answer when it is there."""
        self._start(self._commands.run(), "connect to Redis")
        self._start(self._subscriptions.run(), "subscribe to Redis")
        self._start(self._lease.run(), "renew the lease in Redis")

    async def close(self) -> None:
        with contextlib.suppress(Unavailable):
            await self._lease.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def is_ready(self) -> bool:
        """Whether rooms can be served now: scripts run, and what they publish arrives."""
        return self._commands.is_connected and self._lease.is_heard

    @property
    def lag_s(self) -> float:
        return self._lease.silent_s

    async def attach(self, room: str, subscriber: RoomSubscriber, *, create: bool) -> bool:
        async def read(known: Position) -> Any:
            return await self._commands.call(
                scripts.COMPARE, room, self._lease.process, known.epoch, known.seq, MOST_NAMED_MEMBERS
            )

        attachment = self._attachments[room] = Attachment(subscriber, read, self._start_comparing)
        try:
            await self._subscriptions.subscribe(_CHANNEL + room)
            answer = await self._commands.call(
                scripts.ATTACH, room, self._lease.process, int(create), MOST_NAMED_MEMBERS
            )
            if answer is not None:
                attachment.on_state(answer)
                return True
        except BaseException:
            self._forget(room, attachment)
            raise
        self._forget(room, attachment)
        return False

    def detach(self, room: str) -> None:
        attachment = self._attachments.get(room)
        if attachment is not None:
            self._forget(room, attachment)
            self._post(scripts.DETACH, room, self._lease.process, round(self._limits.history_s * 1000))

    def _forget(self, room: str, attachment: Attachment) -> None:
        if self._attachments.get(room) is attachment:
            del self._attachments[room]
            attachment.cancel()
            self._subscriptions.unsubscribe(_CHANNEL + room)

    async def send(self, room: str, body: bytes, claim: Claim | None) -> SentMessage:
        self._next_send += 1
        tag = f"{self._lease.process}.{self._next_send}"
        done: asyncio.Future[SentMessage] = asyncio.get_running_loop().create_future()
        self._sends[tag] = done
        limits = self._limits
        reply = self._commands.call(
            scripts.SEND, room, tag, body, limits.history, round(limits.history_s * 1000), limits.most_bytes,
            *_claim_arguments(claim),
        )  # fmt: skip

        def on_reply(reply: asyncio.Future[Any]) -> None:
            if done.done():  # the message arrived before
                return
            try:
                sent = _read_sent(reply.result(), body)
                done.set_result(sent)
                # After the answer: the sender reads it first.
                if not sent.is_replay and (attachment := self._attachments.get(room)) is not None:
                    attachment.on_sent(sent.message)
            except (Unavailable, IdempotencyKeyReused, ResponseExpired) as error:
                done.set_exception(error)

        reply.add_done_callback(on_reply)
        try:
            return await done
        finally:
            del self._sends[tag]

    async def enter(self, room: str, user: UUID, username: str) -> int:
        self._members[room, user] = username
        count: int = await self._commands.call(scripts.ENTER, room, self._lease.process, str(user), username)
        return count

    def leave(self, room: str, user: UUID) -> None:
        if self._members.pop((room, user), None) is not None:
            self._post(scripts.LEAVE, room, self._lease.process, str(user), round(self._limits.grace_s * 1000))

    def rename(self, room: str, user: UUID, username: str) -> None:
        if (room, user) in self._members:
            self._members[room, user] = username
            self._post(scripts.RENAME, room, str(user), username)

    async def list_members(self, room: str, after: UUID | None, limit: int) -> Sequence[Member]:
        found = await self._commands.call(scripts.LIST_MEMBERS, room, "" if after is None else str(after), limit)
        return list(read_members(found).values())

    async def list_rooms(self, after: str, limit: int) -> Sequence[RoomSummary]:
        rooms: list[RoomSummary] = []
        while len(rooms) < limit:
            last, found = await self._commands.call(scripts.LIST_ROOMS, after, limit)
            for place in range(0, len(found), 4):
                name, epoch, seq, count = found[place : place + 4]
                rooms.append(RoomSummary(name.decode(), Position(epoch.decode(), seq), count))
            if last is None:
                break
            after = last.decode()
        return rooms[:limit]

    async def count_connections(self, user: UUID, count: int) -> int:
        if count:
            self._connections[user] = count
        else:
            self._connections.pop(user, None)
        total: int = await self._commands.call(scripts.COUNT_CONNECTIONS, str(user), self._lease.process, count)
        return total

    def _post(self, script: scripts.Script, *arguments: str | int) -> None:
        """Run a script whose answer no caller needs: what fails is made good with the next connection."""
        self._commands.call(script, *arguments).add_done_callback(_ignore)

    def _on_published(self, channel: str, data: bytes) -> None:
        if not channel.startswith(_CHANNEL):
            self._lease.on_beat(channel, data)
            return
        published = read_published(data)
        if isinstance(published, PublishedMessage):
            done = self._sends.get(published.tag)
            if done is not None and not done.done():
                # Before the message is passed on: the sender reads the answer first.
                done.set_result(SentMessage(published.message, is_replay=False))
        attachment = self._attachments.get(channel.removeprefix(_CHANNEL))
        if attachment is not None:
            attachment.on_published(published)

    def _on_commands(self) -> None:
        self._is_down = False
        log.info("connected to Redis; rooms are served")
        self._lease.begin()

    def _on_new_process(self, left: str | None) -> None:
        """This process has a new name in Redis: what the old one had belongs to it now."""
        if left is not None:
            self._subscriptions.unsubscribe(self._lease.channel_of(left))
        self._start(self._listen_to_beats(), "subscribe to the own channel")
        self._compare_all()
        for (room, user), username in self._members.items():
            self._post(scripts.ENTER, room, self._lease.process, str(user), username)
        for user, count in self._connections.items():
            self._post(scripts.COUNT_CONNECTIONS, str(user), self._lease.process, count)

    async def _listen_to_beats(self) -> None:
        await self._subscriptions.subscribe(self._lease.channel)
        self._lease.beat_soon()

    def _compare_all(self) -> None:
        for attachment in self._attachments.values():
            attachment.compare()

    def _reconnect(self) -> None:
        self._subscriptions.reconnect()

    def _on_lost(self, error: Exception) -> None:
        if not self._is_down:
            self._is_down = True
            log.error("Redis unavailable; rooms return 503", extra={"error": str(error) or type(error).__name__})

    def _start_comparing(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="compare a room with Redis")
        self._own(task)
        return task

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._own(asyncio.create_task(work, name=name))

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, Unavailable):
            log.error("a task of the room engine failed", exc_info=error)


def _claim_arguments(claim: Claim | None) -> tuple[str | bytes | int, ...]:
    if claim is None:
        return "", "", 0
    ttl_ms = round((claim.expires_at - claim.now).total_seconds() * 1000)
    return f"{claim.user_id}:{claim.key}", claim.fingerprint, ttl_ms


def _read_sent(answer: Sequence[Any], body: bytes) -> SentMessage:
    kind = answer[0]
    if kind == b"reused":
        raise IdempotencyKeyReused()
    if kind == b"expired":
        raise ResponseExpired()
    position = Position(answer[1].decode(), int(answer[2]))
    is_replay = kind == b"replayed"
    return SentMessage(RoomMessage(position, moment_of(int(answer[3])), answer[4] if is_replay else body), is_replay)


def _ignore(reply: asyncio.Future[Any]) -> None:
    reply.exception()
