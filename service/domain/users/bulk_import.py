"""Writing a batch of imported users as one transaction, and the retention of their events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import uuid_utils.compat

from service.domain.audit import AuditSource, rights_changed
from service.domain.auth.revocation import revoke_access, revoke_sessions
from service.domain.errors import AlreadyExists, Conflict, DomainError, IdDeleted, LastAdmin, OwnCredentials
from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.mail.notices import notify_owner
from service.domain.ports import Clock, Store, Transaction
from service.domain.users.user import User, changed_fields

OnConflict = Literal["skip", "update", "error"]

# Events are retained for this long after the last batch. The limit ends the retention of an import whose process died.
_RETENTION: Final = timedelta(minutes=5)
# Events are retained for this long after the end of an import. A process that follows the log closes its streams at this lag.
_FINAL_RETENTION: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class ImportLine:
    """One user of an import. The fields have passed the field rules.

    Attributes:
        number: of the line, from 1.
        profile: values of `name`, `age`, `role` and `active`, as far as the line has them.
        id: of a new user; None: a generated id.
        created_at: of a new user; None: the time of the import.
        password_hash: None: the user gets no password, or keeps the one that it has.
        hash_skipped: whether the line has a password that was not hashed, because its user existed already.
        password: not yet hashed; None without one.
    """

    number: int
    username: str
    email: str
    profile: Mapping[str, Any]
    id: UUID | None = None
    created_at: datetime | None = None
    password_hash: str | None = None
    hash_skipped: bool = False
    password: str | None = field(default=None, repr=False)

    def with_hash(self, password_hash: str) -> ImportLine:
        return replace(self, password_hash=password_hash, password=None)

    def without_hash(self) -> ImportLine:
        """The same line for a user who exists. Where the user is gone when the line is written, the line is refused."""
        return replace(self, hash_skipped=True, password=None)


@dataclass(slots=True)
class BatchResult:
    """Results of one batch.

    Attributes:
        skipped: lines whose user stayed as it was, by `on_conflict="skip"` or because the line changes nothing.
        refused: line numbers and errors.
        position: of the event log after the batch; None until the commit.
    """

    created: int = 0
    updated: int = 0
    skipped: int = 0
    refused: list[tuple[int, DomainError]] = field(default_factory=list)
    position: Position | None = None


async def retain_events(store: Store, clock: Clock, source: AuditSource, actor: UUID, import_id: UUID) -> Position:
    """Retain the events that this import will append, and record its start. Returns the position before them."""

    async def work(transaction: Transaction) -> None:
        await transaction.events.retain(import_id, clock() + _RETENTION)
        await transaction.audit.record("import.started", actor, None)

    return (await store.write(work, source)).position


async def release_events(
    store: Store, clock: Clock, source: AuditSource, actor: UUID, import_id: UUID, counts: Mapping[str, int]
) -> None:
    """End the retention after 5 s, in which followers of the log read the rest, and record the end with these counts."""

    async def work(transaction: Transaction) -> None:
        await transaction.events.retain(import_id, clock() + _FINAL_RETENTION)
        await transaction.audit.record("import.ended", actor, None, counts)

    await store.write(work, source)


async def import_batch(
    store: Store,
    clock: Clock,
    source: AuditSource,
    actor: UUID,
    lines: Sequence[ImportLine],
    on_conflict: OnConflict,
    import_id: UUID,
) -> BatchResult:
    """Write lines in their order as one transaction. A refused line does not affect the others.

    A line is matched to a user by id, then by e-mail address, then by username. A line without a match creates a user. For a
    match, `skip` leaves the user as it is, `update` changes what the line contains, and `error` refuses the line.

    A line is also refused if it would:

    * take the username or e-mail address of another user,
    * remove the last active administrator,
    * give a new user the id of a deleted user whose events are retained,
    * change the e-mail address or the password of the actor.
    """

    async def work(transaction: Transaction) -> BatchResult:
        now = clock()
        await transaction.events.retain(import_id, now + _RETENTION)
        return await _BatchWriter(transaction, clock, now, actor, on_conflict).write(lines)

    written = await store.write(work, source)
    batch = written.value
    batch.position = written.position
    return batch


async def has_account(store: Store, line: ImportLine) -> bool:
    """Whether a user has the id, e-mail address or username of this line now."""
    if line.id is not None and (await store.users.find(line.id)).value is not None:
        return True
    return (
        await store.users.find_by_login(line.email) is not None
        or await store.users.find_by_login(line.username) is not None
    )


class _BatchWriter:
    """Writes one batch inside its transaction. It knows each matched user as the lines so far have left it."""

    def __init__(
        self, transaction: Transaction, clock: Clock, now: datetime, actor: UUID, on_conflict: OnConflict
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._now = now
        self._actor = actor
        self._on_conflict = on_conflict
        self._hashes: dict[UUID, str | None] = {}
        self._by_id: dict[UUID, User] = {}
        self._by_username: dict[str, User] = {}
        self._by_email: dict[str, User] = {}
        self._queued: dict[UUID, User] = {}
        self._new_hashes: dict[UUID, str] = {}
        self._admins: int | None = None
        self._deleted: Set[UUID] = frozenset()
        self._result = BatchResult()

    async def write(self, lines: Sequence[ImportLine]) -> BatchResult:
        holders = await self._transaction.users.find_by_identity(
            [line.id for line in lines if line.id is not None],
            [line.username for line in lines],
            [line.email for line in lines],
        )
        for holder in holders:
            self._hashes[holder.user.id] = holder.password_hash
            self._index(holder.user)
        new_ids = {line.id for line in lines if line.id is not None}.difference(self._by_id)
        if new_ids:
            self._deleted = await self._transaction.events.find_deleted_users(new_ids)
        for line in lines:
            try:
                await self._write_line(line)
            except DomainError as refusal:
                self._result.refused.append((line.number, refusal))
        await self._flush()
        return self._result

    async def _write_line(self, line: ImportLine) -> None:
        found = self._by_id.get(line.id) if line.id is not None else None
        by_email, by_username = self._by_email.get(line.email), self._by_username.get(line.username)
        user = found or by_email or by_username
        if user is None:
            if line.hash_skipped:
                raise Conflict("The account of this line was deleted during the import. Send the line again.")
            if line.id in self._deleted:
                # The new user could read the events about the deleted user.
                raise IdDeleted()
            await self._create(line)
        elif self._on_conflict == "skip":
            self._result.skipped += 1
        else:
            conflicts = [
                name
                for name, holder in (("username", by_username), ("email", by_email))
                if holder is not None and (self._on_conflict == "error" or holder is not user)
            ]
            if found is not None and self._on_conflict == "error":
                conflicts.insert(0, "id")
            if conflicts:
                raise AlreadyExists(*conflicts)
            await self._update(user, line)

    async def _create(self, line: ImportLine) -> None:
        now = self._now
        user = User(
            line.id or uuid_utils.compat.uuid7(),
            line.username,
            line.email,
            created_at=min(line.created_at or now, now),
            updated_at=now,
            **{**_DEFAULTS, **line.profile},
        )
        await self._queue(user)
        if line.password_hash is not None:
            self._hashes[user.id] = self._new_hashes[user.id] = line.password_hash
        # A new administrator has an audit entry of its own; new members share one.
        await self._transaction.events.append(
            Event("user.created", now, self._actor, user.id, user), together=user.role == "member"
        )
        self._result.created += 1

    async def _update(self, user: User, line: ImportLine) -> None:
        after = replace(user, username=line.username, email=line.email, **line.profile)
        changed = changed_fields(user, after)
        password_hash = line.password_hash if line.password_hash != self._hashes.get(user.id) else None
        if not changed and password_hash is None:
            self._result.skipped += 1
            return
        if user.id == self._actor and ("email" in changed or password_hash is not None):
            raise OwnCredentials()
        if user.is_active_admin and not after.is_active_admin and await self._count_admins() < 2:
            raise LastAdmin()
        after = replace(after, updated_at=max(self._now, user.updated_at))
        if password_hash is not None:
            self._hashes[user.id] = self._new_hashes[user.id] = password_hash
            await self._transaction.audit.record("password.changed", self._actor, user.id)
            await notify_owner(self._transaction, self._clock, user.email, "changed")
        if changed:
            await self._queue(after)
            event = Event("user.updated", self._now, self._actor, user.id, after, changed)
            new_rights = rights_changed(user, after)
            await self._transaction.events.append(event, new_rights, together=not new_rights)
            if "email" in changed:
                await notify_owner(self._transaction, self._clock, user.email, "moved")
        if user.active and not after.active:
            await revoke_access(self._transaction, self._clock, self._actor, user.id, "deactivated")
        elif password_hash is not None:
            await revoke_sessions(self._transaction, self._clock, self._actor, user.id, "password")
        self._result.updated += 1

    async def _count_admins(self) -> int:
        # The count must include the lines so far.
        await self._flush()
        return await self._transaction.users.count_active_admins()

    async def _queue(self, user: User) -> None:
        if user.id in self._queued:
            # One statement may contain a user once. A name may also pass from user to user, in the order of the lines.
            await self._flush()
        self._index(user)
        self._queued[user.id] = user

    def _index(self, user: User) -> None:
        before = self._by_id.get(user.id)
        if before is not None:
            del self._by_username[before.username], self._by_email[before.email]
        self._by_id[user.id] = self._by_username[user.username] = self._by_email[user.email] = user

    async def _flush(self) -> None:
        users, hashes = list(self._queued.values()), self._new_hashes
        self._queued, self._new_hashes = {}, {}
        if users:
            await self._transaction.users.save_many(users)
        if hashes:
            await self._transaction.users.set_passwords(hashes)


# Of a new user, for what the line does not contain.
_DEFAULTS: Final[Mapping[str, Any]] = {"name": "", "age": None, "role": "member", "active": True}
