"""One bulk import while it runs: lines become batches, and the results are counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import uuid_utils.compat

from service.domain.audit import AuditSource
from service.domain.errors import Forbidden, Unavailable
from service.domain.events.position import Position
from service.domain.ports import Clock, Hasher, Store
from service.domain.users.bulk_import import (
    BatchResult,
    ImportLine,
    OnConflict,
    has_account,
    import_batch,
    release_events,
    retain_events,
)

BATCH_LINES: Final = 500  # lines that are one transaction
_HASH_TRIES: Final = 100
_HASH_RETRY_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that breaks a rule of its format or its fields. `number` counts from 1."""

    number: int
    error: Exception


@dataclass(slots=True)
class ImportCounts:
    """How far an import got.

    Attributes:
        lines: number of the last line whose batch was committed.
        skipped: lines whose user stayed as it was.
        refused: lines that broke a rule.
    """

    lines: int = 0
    created: int = 0
    updated: int = 0
    skipped: int = 0
    refused: int = 0


class ImportHost(Protocol):
    """The services of the process that runs an import."""

    def check_running(self) -> None:
        """Raises `Unavailable` once the service shuts down."""

    async def has_access(self) -> bool:
        """Whether the administrator who started the import still has the same rights."""

    def start_write(self, work: Coroutine[Any, Any, BatchResult]) -> asyncio.Task[BatchResult]:
        """Start a write that ends before the store closes, whatever happens to the caller."""

    def report_refusal(self, number: int, error: Exception) -> None:
        """Called for each refused line, in the order of the lines within a batch."""

    def wake_mail_worker(self) -> None:
        """Called after a batch that queued mails."""


class ImportSession:
    """Writes the lines of one import in batches. While one batch is written, the next is read.

    Args:
        source: recorded in the audit with each change.
        actor: the administrator who imports.
        on_conflict: what happens to a line about an existing user.

    Attributes:
        position: of the event log after the last committed batch; None before `open`.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        source: AuditSource,
        actor: UUID,
        on_conflict: OnConflict,
        hasher: Hasher,
        host: ImportHost,
    ) -> None:
        self._store = store
        self._clock = clock
        self._source = source
        self._actor = actor
        self._on_conflict = on_conflict
        self._hasher = hasher
        self._host = host
        self._id = uuid_utils.compat.uuid7()
        self._lines: list[ImportLine] = []
        self._rejected: list[RejectedLine] = []
        self._last_number = 0
        self._writing: tuple[asyncio.Task[BatchResult], list[RejectedLine], int] | None = None
        self.counts = ImportCounts()
        self.position: Position | None = None

    async def open(self) -> None:
        """Retain the events of this import, and record its start in the audit. Run it shielded, as every write."""
        self.position = await retain_events(self._store, self._clock, self._source, self._actor, self._id)

    async def run(self, lines: AsyncIterator[ImportLine | RejectedLine]) -> None:
        """Import every line. After an error, and after a cancellation, `counts` tells what was committed.

        Raises what `lines` raises, `Unavailable` at shutdown or when the store is down, and `Forbidden` when the actor has
        lost its rights. A committed batch stays.
        """
        try:
            async for line in lines:
                await self._add(line)
            await self._write_batch()
        finally:
            await self._finish_batch()

    async def close(self) -> None:
        """End the retention of events, and record the end with its counts in the audit. Call it also where `open` failed."""
        counts = {} if self.position is None else asdict(self.counts)
        await release_events(self._store, self._clock, self._source, self._actor, self._id, counts)

    async def _add(self, line: ImportLine | RejectedLine) -> None:
        self._last_number = line.number
        if isinstance(line, RejectedLine):
            self._rejected.append(line)
        else:
            self._lines.append(line if line.password is None else await self._hash_password(line, line.password))
        if len(self._lines) + len(self._rejected) >= BATCH_LINES:
            await self._write_batch()

    async def _hash_password(self, line: ImportLine, password: str) -> ImportLine:
        # A hash takes longer than the rest of a batch. The password of a line that will be skipped is not hashed.
        if self._on_conflict != "update" and await has_account(self._store, line):
            return line.without_hash()
        return line.with_hash(await self._hash(password))

    async def _hash(self, password: str) -> str:
        """Hash, and wait up to 10 s while logins keep the hashing threads busy; raises `Unavailable` after that."""
        for _ in range(_HASH_TRIES):
            self._host.check_running()
            try:
                return await self._hasher.hash(password)
            except Unavailable:
                await asyncio.sleep(_HASH_RETRY_S)
        raise Unavailable(_HASH_TRIES * _HASH_RETRY_S)

    async def _write_batch(self) -> None:
        """Start to write the collected lines, after the batch before them is finished. The next lines are read meanwhile."""
        if not self._lines and not self._rejected:
            return
        await self._finish_batch()
        self._host.check_running()
        # An import may take long, and the actor may lose its rights meanwhile.
        if not await self._host.has_access():
            raise Forbidden("This account is no longer an administrator.")
        work = import_batch(
            self._store, self._clock, self._source, self._actor, self._lines, self._on_conflict, self._id
        )
        # The task is not awaited here. A cancelled import waits for it in `run`, before it ends.
        self._writing = self._host.start_write(work), self._rejected, self._last_number
        self._lines, self._rejected = [], []

    async def _finish_batch(self) -> None:
        """Wait for the batch that is being written, and count it; does nothing without one. After a cancellation, call it again."""
        if self._writing is None:
            return
        task, rejected, last_number = self._writing
        try:
            batch = await asyncio.shield(task)
        finally:
            if task.done():
                self._writing = None
        counts = self.counts
        counts.created += batch.created
        counts.updated += batch.updated
        if batch.updated:
            self._host.wake_mail_worker()  # the owners of changed accounts are notified
        counts.skipped += batch.skipped
        self.position = batch.position
        refused = [*((line.number, line.error) for line in rejected), *batch.refused]
        for number, error in sorted(refused, key=lambda pair: pair[0]):
            counts.refused += 1
            self._host.report_refusal(number, error)
        counts.lines = last_number
