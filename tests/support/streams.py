"""A stream without a socket: its peer reads when the test says so."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Literal
from uuid import UUID

import uuid_utils.compat

from service.domain.users.accounts import Caller
from service.domain.users.user import Role
from service.realtime.close_reasons import CloseReason
from service.realtime.connection import Connection
from service.realtime.encoding import EncodedEntry, WireEncoding
from service.realtime.reader import Reader
from service.realtime.subscribers import FULL_BYTES
from service.security.authenticator import Principal

_numbers = itertools.count(1)
_SEQ = re.compile(rb"data: ([0-9]+)\n\n")


def a_principal(
    user_id: UUID | None = None, *, role: Role = "member", session_id: UUID | None = None, expires_at: float = 1e12
) -> Principal:
    user_id = user_id or uuid_utils.compat.uuid7()
    number = next(_numbers)
    return Principal(
        Caller(user_id, role), str(user_id), f"user{number}", session_id or uuid_utils.compat.uuid7(), expires_at
    )


def an_entry(seq: int, key: object = None, event: str = "message", *, size: int = 0) -> EncodedEntry:
    """An entry whose data is its seq, with a frame of that many bytes more."""
    return EncodedEntry(seq, key, event, f"e-{seq}", b"%d" % seq, b"f" * size)


class FakeStream(Connection):
    """A connection that writes to memory.

    Attributes:
        received: what the peer has read.
        buffered: what it has not; at `full_bytes` the socket counts as full.
        close_reason: the close reason that its peer received.
        aborted: whether it was torn down.
    """

    def __init__(
        self,
        principal: Principal | None = None,
        *,
        encoding: WireEncoding = WireEncoding.PLAIN,
        kind: Literal["feed", "websocket"] = "feed",
        full_bytes: int = FULL_BYTES,
    ) -> None:
        # Nothing of the base class's own beginning: there is no request and no transport.
        self.id = f"fake{next(_numbers)}"
        self.kind = kind
        self.encoding = encoding
        self.principal = principal or a_principal()
        self.client = "127.0.0.1"
        self.readers: list[Reader] = []
        self.opened_at = 0.0
        self._sent_bytes = 0
        self.silent = False
        self.ending: CloseReason | None = None
        self.reconnect_after_ms = 0
        self.received = b""
        self.buffered = b""
        self.pings = 0
        self.close_reason: CloseReason | None = None
        self.aborted = False
        self.full_bytes = full_bytes
        self.woken = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def put(self, data: bytes) -> None:
        self.buffered += data
        if self.is_full:
            self._room.clear()

    def write(self, data: bytes) -> bool:
        self._sent_bytes += len(data)
        self.put(data)
        return not self.is_full

    @property
    def buffered_bytes(self) -> int:
        return len(self.buffered)

    @property
    def is_full(self) -> bool:
        return len(self.buffered) >= self.full_bytes

    def read(self, size: int | None = None) -> None:
        """Have the peer take so many bytes, or all."""
        taken, self.buffered = self.buffered[:size], b"" if size is None else self.buffered[size:]
        self.received += taken
        if not self.is_full:
            self._room.set()

    @property
    def seqs(self) -> list[int]:
        """The seqs of the entries that the peer has read, where the form is that of an event stream."""
        return [int(seq) for seq in _SEQ.findall(self.received)]

    @property
    def written_seqs(self) -> list[int]:
        """The same of all that was written, read or not."""
        return [int(seq) for seq in _SEQ.findall(self.received + self.buffered)]

    def ping(self) -> None:
        self.pings += 1

    def wake(self) -> None:
        self.woken.set()

    def send_close_notice(self) -> None:
        self.close_reason = self.ending
        self.woken.set()

    def abort(self) -> None:
        self.aborted = True
        self._room.set()

    async def drained(self) -> None:
        await asyncio.sleep(0)
        await self._room.wait()
