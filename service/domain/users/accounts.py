"""The use cases of accounts: plain values and ports in, plain values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import uuid_utils.compat

from service.domain.audit import START, AuditSource, rights_changed
from service.domain.auth.password_policy import reject_common
from service.domain.auth.reauthentication import require_reauth, verify_password
from service.domain.auth.revocation import revoke_access
from service.domain.errors import (
    FieldError,
    Forbidden,
    Invalid,
    LastAdmin,
    NotFound,
    PasswordFieldMissing,
    VersionMismatch,
    WrongPassword,
)
from service.domain.events.event import Event
from service.domain.mail.notices import notify_owner
from service.domain.ports import Clock, Hasher, Snapshot, Store, Transaction, TransactionRunner, Written
from service.domain.users.user import Role, User, changed_fields

_PASSWORD: Final = "/current_password"
NOT_NONE: Final = "`If-None-Match` names the present state of the user, so nothing was changed."


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller, as far as the rules need it."""

    id: UUID
    role: Role

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def can_view(self, user_id: UUID) -> bool:
        return self.role == "admin" or self.id == user_id


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account to be made; the fields have passed the field rules."""

    username: str
    email: str
    name: str = ""
    age: int | None = None
    role: Role = "member"
    active: bool = True
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """The change that a caller requests.

    Attributes:
        fields: new values by field name; fields that are not named stay as they are.
        current_password: the caller's own, needed to change its own e-mail address.
        otp: the code of its second factor, needed with that where it has one.
        versions: versions that the caller accepts to change; None for any.
        excluded: versions that the caller does not want to change.
        proven_addresses: whether a member's own address has to be proven, which is another way than this.
    """

    fields: Mapping[str, Any]
    current_password: str | None = None
    versions: frozenset[int] | None = None
    otp: str | None = None
    proven_addresses: bool = False
    excluded: frozenset[int] = frozenset()


async def create(
    store: TransactionRunner, hasher: Hasher, clock: Clock, by: AuditSource, new: NewUser, actor: UUID | None
) -> Snapshot[User]:
    """Make an account; `actor` None means that it registers itself. Raises `AlreadyExists`, and `Invalid` for a common password."""
    if new.password is not None:
        reject_common(new.password, new.username, new.email, new.name)
    password_hash = None if new.password is None else await hasher.hash(new.password)
    now = clock()
    user = User(
        id=uuid_utils.compat.uuid7(),
        username=new.username,
        email=new.email,
        name=new.name,
        age=new.age,
        role=new.role,
        active=new.active,
        created_at=now,
        updated_at=now,
    )

    async def work(transaction: Transaction) -> User:
        await transaction.users.save(user)
        if password_hash is not None:
            await transaction.users.set_password(user.id, password_hash)
        await transaction.events.append(Event("user.created", now, actor or user.id, user.id, user))
        return user

    return as_committed(await store.write(work, by))


async def change(
    store: Store, hasher: Hasher, clock: Clock, by: AuditSource, caller: Caller, user_id: UUID, wanted: Change
) -> Snapshot[User]:
    """Change a user; a change that changes nothing writes nothing.

    Raises `NotFound`, `VersionMismatch`, `Forbidden`, `Invalid`, `PasswordFieldMissing`, `WrongPassword`, `OtpFieldMissing`,
    `OtpFieldWrong`, `AlreadyExists`, `LastAdmin`.
    """
    proven = await _prove(store, hasher, caller, user_id, wanted)

    async def work(transaction: Transaction) -> User:
        user = await _visible(transaction, caller, user_id, wanted.versions, wanted.excluded)
        after = replace(user, **wanted.fields)
        changed = changed_fields(user, after)
        if not changed:
            return user
        if not caller.is_admin and not {"role", "active"}.isdisjoint(changed):
            raise Forbidden("Only an administrator may change `role` or `active`.")
        if "email" in changed and caller.id == user_id:
            if wanted.proven_addresses and not caller.is_admin:
                raise Invalid(
                    FieldError("/email", "unproven", "Ask for it with POST /v1/auth/address, which proves it.")
                )
            if wanted.current_password is None:
                raise PasswordFieldMissing(_PASSWORD)
            if proven is None:
                raise WrongPassword(_PASSWORD)
            await require_reauth(transaction, clock, user_id, proven, wanted.otp, _PASSWORD)
        if user.is_active_admin and not after.is_active_admin:
            await _keep_an_admin(transaction)
        now = clock()
        after = await put_changed(transaction, user, after, changed, caller.id, now)
        if "email" in changed:
            await notify_owner(transaction, clock, user.email, "moved")
        if user.active and not after.active:
            await revoke_access(transaction, clock, caller.id, user_id, "deactivated")
        return after

    return as_committed(await store.write(work, by))


async def put_changed(
    transaction: Transaction, before: User, after: User, changed: tuple[str, ...], actor: UUID, now: datetime
) -> User:
    """Keep a user as it is `after` these fields have changed, with the event that tells of it; as it was kept."""
    after = replace(after, updated_at=max(now, before.updated_at))
    await transaction.users.save(after)
    event = Event("user.updated", now, actor, after.id, after, changed)
    await transaction.events.append(event, rights_changed(before, after))
    return after


async def delete(
    store: Store,
    clock: Clock,
    by: AuditSource,
    caller: Caller,
    user_id: UUID,
    versions: frozenset[int] | None,
    excluded: frozenset[int] = frozenset(),
) -> Snapshot[None]:
    """Delete a user with its sessions; `versions` and `excluded` as of a `Change`. Raises `NotFound`, `VersionMismatch`, `LastAdmin`."""

    async def work(transaction: Transaction) -> None:
        user = await _visible(transaction, caller, user_id, versions, excluded)
        if user.is_active_admin:
            await _keep_an_admin(transaction)
        await revoke_access(transaction, clock, caller.id, user_id, "deleted")
        await transaction.users.delete(user_id)
        await transaction.events.append(Event("user.deleted", clock(), caller.id, user_id))

    written = await store.write(work, by)
    return Snapshot(None, written.position)


async def ensure_admin(store: Store, hasher: Hasher, clock: Clock, admin: NewUser) -> bool:
    """Make the first administrator unless there is one; whether it was made. Safe to run on two hosts at once.

    Raises `AlreadyExists` if a user who is no administrator has its username or address.
    """
    password_hash = await hasher.hash(admin.password or "")
    now = clock()
    user = User(uuid_utils.compat.uuid7(), admin.username, admin.email, admin.name, None, "admin", True, now, now)

    async def work(transaction: Transaction) -> bool:
        if await transaction.users.count_active_admins():
            return False
        await transaction.users.save(user)
        await transaction.users.set_password(user.id, password_hash)
        await transaction.events.append(Event("user.created", now, None, user.id, user))
        return True

    return (await store.write(work, START)).value


async def _prove(store: Store, hasher: Hasher, caller: Caller, user_id: UUID, wanted: Change) -> str | None:
    """Verify the password of a caller that changes its own address, for `require_reauth`.

    None for any other change, and without a password: the change itself then says what is missing.

    Only such a change computes a hash.
    """
    email = wanted.fields.get("email")
    if email is None or caller.id != user_id or wanted.current_password is None:
        return None
    user = (await store.users.find(user_id)).value
    if user is None or user.email == email:
        return None
    return await verify_password(store, hasher, user_id, wanted.current_password, _PASSWORD)


async def _visible(
    transaction: Transaction,
    caller: Caller,
    user_id: UUID,
    versions: frozenset[int] | None,
    excluded: frozenset[int],
) -> User:
    user = await transaction.users.find(user_id)
    if user is None or not caller.can_view(user_id):
        raise NotFound()
    if versions is not None and user.version not in versions:
        raise VersionMismatch()
    if user.version in excluded:
        raise VersionMismatch(NOT_NONE)
    return user


async def _keep_an_admin(transaction: Transaction) -> None:
    if await transaction.users.count_active_admins() < 2:
        raise LastAdmin()


def as_committed(written: Written[User]) -> Snapshot[User]:
    """The user as its event carries it, so with its version; a write without event left it as it was."""
    for event in written.events:
        if event.user is not None:
            return Snapshot(event.user, written.position)
    return Snapshot(written.value, written.position)
