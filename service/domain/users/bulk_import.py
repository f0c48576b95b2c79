"""Bringing many accounts in: what becomes of each line, and a batch of lines as one write."""

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

BATCH: Final = 500  # lines that are one transaction
# The log is held for an import so long after its last batch: one that died must not hold it for ever.
_HELD: Final = timedelta(minutes=5)
# And so long after its end, which is what readers who follow may be behind before they are given up.
_HELD_ON: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class ImportLine:
    """A user as a line of an import names it; the fields have passed the field rules.

    Attributes:
        number: of the line, from 1.
        given: what it says of name, age, role and active.
        id: kept for a user who is made; None for a new one.
        created_at: kept likewise; None for now.
        password_hash: None for none.
        unhashed: whether there is a password that nobody has hashed, because somebody is there already.
    """

    number: int
    username: str
    email: str
    given: Mapping[str, Any]
    id: UUID | None = None
    created_at: datetime | None = None
    password_hash: str | None = None
    hash_skipped: bool = False

    def with_hash(self, password_hash: str) -> ImportLine:
        return replace(self, password_hash=password_hash)

    def without_hash(self) -> ImportLine:
        """For a line that will not be carried out, as it seems."""
        return replace(self, hash_skipped=True)


@dataclass(slots=True)
class ImportBatch:
    """What became of some lines.

    Attributes:
        skipped: left as they were: they were there and should be skipped, or are what the line says.
        refused: by the number of the line.
        position: of the log behind them.
    """

    created: int = 0
    updated: int = 0
    skipped: int = 0
    refused: list[tuple[int, DomainError]] = field(default_factory=list)
    position: Position | None = None


async def hold(store: Store, clock: Clock, by: AuditSource, actor: UUID, name: UUID) -> Position:
    """Have the log keep what an import of this name brings; the position behind which that lies."""

    async def work(transaction: Transaction) -> None:
        await transaction.retain_events(name, clock() + _HELD)
        await transaction.record("import.started", actor, None)

    return (await store.write(work, by)).position


async def release(
    store: Store, clock: Clock, by: AuditSource, actor: UUID, name: UUID, told: Mapping[str, int]
) -> None:
    """Let the log be trimmed as always, once those who follow it have had a moment to read the rest.

    `told`: what became of the lines, as counts.
    """

    async def work(transaction: Transaction) -> None:
        await transaction.retain_events(name, clock() + _HELD_ON)
        await transaction.record("import.ended", actor, None, told)

    await store.write(work, by)


async def import_batch(
    store: Store,
    clock: Clock,
    by: AuditSource,
    actor: UUID,
    lines: Sequence[ImportLine],
    on_conflict: OnConflict,
    name: UUID,
) -> ImportBatch:
    """Carry out some lines, in their order, as one write of the import of this name: all that are not refused, or none.

    A line is about the user with its id, else about the one with its address, else about the one with its username. Where
    there is one, `skip` leaves it, `update` changes what the line says of it, and `error` refuses the line. A line that would
    take a name from another user, or the last active administrator away, is refused. So is one that would give a new user the
    id of a deleted one, and one that would change the e-mail address or the password of the actor.
    """

    async def work(transaction: Transaction) -> ImportBatch:
        now = clock()
        await transaction.retain_events(name, now + _HELD)
        return await _Work(transaction, clock, now, actor, on_conflict).carry_out(lines)

    written = await store.write(work, by)
    batch = written.value
    batch.position = written.position
    return batch


async def there(store: Store, line: ImportLine) -> bool:
    """Whether somebody has a name of this line now."""
    if line.id is not None and (await store.user(line.id)).value is not None:
        return True
    return await store.credentials(line.email) is not None or await store.credentials(line.username) is not None


class _Work:
    """One batch, inside its transaction: users as its lines have left them so far, and by their names."""

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
        self._to_put: dict[UUID, User] = {}
        self._new_hashes: dict[UUID, str] = {}
        self._admins: int | None = None
        self._deleted: Set[UUID] = frozenset()
        self._batch = ImportBatch()

    async def carry_out(self, lines: Sequence[ImportLine]) -> ImportBatch:
        find_by_identity = await self._transaction.find_by_identity(
            [line.id for line in lines if line.id is not None],
            [line.username for line in lines],
            [line.email for line in lines],
        )
        for holder in find_by_identity:
            self._hashes[holder.user.id] = holder.password_hash
            self._know(holder.user)
        new_ids = {line.id for line in lines if line.id is not None}.difference(self._by_id)
        if new_ids:
            self._deleted = await self._transaction.deleted_ids(new_ids)
        for line in lines:
            try:
                await self._take(line)
            except DomainError as refusal:
                self._batch.refused.append((line.number, refusal))
        await self._put()
        return self._batch

    async def _take(self, line: ImportLine) -> None:
        found = self._by_id.get(line.id) if line.id is not None else None
        by_email, by_username = self._by_email.get(line.email), self._by_username.get(line.username)
        user = found or by_email or by_username
        if user is None:
            if line.hash_skipped:
                raise Conflict("The account that had a name of this line has gone meanwhile; send the line again.")
            if line.id in self._deleted:
                # Its new owner would read the events about the user who had it before.
                raise IdDeleted()
            await self._create(line)
        elif self._on_conflict == "skip":
            self._batch.skipped += 1
        else:
            taken = [
                name
                for name, holder in (("username", by_username), ("email", by_email))
                if holder is not None and (self._on_conflict == "error" or holder is not user)
            ]
            if found is not None and self._on_conflict == "error":
                taken.insert(0, "id")
            if taken:
                raise AlreadyExists(*taken)
            await self._update(user, line)

    async def _create(self, line: ImportLine) -> None:
        now = self._now
        user = User(
            line.id or uuid_utils.compat.uuid7(),
            line.username,
            line.email,
            created_at=min(line.created_at or now, now),
            updated_at=now,
            **{**_UNTOLD, **line.given},
        )
        await self._keep(user)
        if line.password_hash is not None:
            self._hashes[user.id] = self._new_hashes[user.id] = line.password_hash
        # What makes somebody mighty, or takes it away, has an entry of its own.
        await self._transaction.append(
            Event("user.created", now, self._actor, user.id, user), together=user.role == "member"
        )
        self._batch.created += 1

    async def _update(self, user: User, line: ImportLine) -> None:
        after = replace(user, username=line.username, email=line.email, **line.given)
        changed = changed_fields(user, after)
        password_hash = line.password_hash if line.password_hash != self._hashes.get(user.id) else None
        if not changed and password_hash is None:
            self._batch.skipped += 1
            return
        if user.id == self._actor and ("email" in changed or password_hash is not None):
            raise OwnCredentials()
        if user.is_active_admin and not after.is_active_admin and await self._count_admins() < 2:
            raise LastAdmin()
        after = replace(after, updated_at=max(self._now, user.updated_at))
        if password_hash is not None:
            self._hashes[user.id] = self._new_hashes[user.id] = password_hash
            await self._transaction.record("password.changed", self._actor, user.id)
            await notify_owner(self._transaction, self._clock, user.email, "changed")
        if changed:
            await self._keep(after)
            event = Event("user.updated", self._now, self._actor, user.id, after, changed)
            turned = rights_changed(user, after)
            await self._transaction.append(event, turned, together=not turned)
            if "email" in changed:
                await notify_owner(self._transaction, self._clock, user.email, "moved")
        if user.active and not after.active:
            await revoke_access(self._transaction, self._clock, self._actor, user.id, "deactivated")
        elif password_hash is not None:
            await revoke_sessions(self._transaction, self._clock, self._actor, user.id, "password")
        self._batch.updated += 1

    async def _count_admins(self) -> int:
        # What the lines so far have made of it must be counted as well.
        await self._put()
        return await self._transaction.active_admins()

    async def _keep(self, user: User) -> None:
        if user.id in self._to_put:
            # Twice in one statement could not be told apart; and names move on from line to line, in their order.
            await self._put()
        self._know(user)
        self._to_put[user.id] = user

    def _know(self, user: User) -> None:
        before = self._by_id.get(user.id)
        if before is not None:
            del self._by_username[before.username], self._by_email[before.email]
        self._by_id[user.id] = self._by_username[user.username] = self._by_email[user.email] = user

    async def _put(self) -> None:
        users, hashes = list(self._to_put.values()), self._new_hashes
        self._to_put, self._new_hashes = {}, {}
        if users:
            await self._transaction.put_users(users)
        if hashes:
            await self._transaction.put_passwords(hashes)


# What a line that does not say it makes of a new account.
_UNTOLD: Final[Mapping[str, Any]] = {"name": "", "age": None, "role": "member", "active": True}
