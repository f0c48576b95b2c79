"""Turning a second factor on and off. Each function is one use case."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from service.domain.audit import AuditSource
from service.domain.auth import recovery_codes, totp
from service.domain.auth.reauthentication import require_reauth, verify_password
from service.domain.auth.revocation import revoke_sessions
from service.domain.auth.totp import SecondFactor
from service.domain.errors import Conflict, Forbidden, InvalidToken, NotFound, OtpFieldWrong
from service.domain.mail.notices import notify_owner
from service.domain.ports import Clock, Hasher, Store, Transaction
from service.domain.users.accounts import Caller
from service.domain.users.user import User


class Begun(NamedTuple):
    """A secret that nothing asks for yet, and whose it is."""

    secret: str
    user: User


async def begin(store: Store, hasher: Hasher, clock: Clock, by: AuditSource, user_id: UUID, password: str) -> Begun:
    """Make the secret of a second factor, in the place of one that was begun before.

    Raises `WrongPassword`, and `Conflict` if a second factor is active: replacing it requires its code.
    """
    proven = await verify_password(store, hasher, user_id, password)
    secret = totp.new_secret()

    async def work(transaction: Transaction) -> Begun:
        owner = await transaction.users.find_credentials(user_id)
        if owner is not None and owner.asks_otp:
            raise Conflict("This account has a second factor; remove it before you begin another.")
        owner = await require_reauth(transaction, clock, user_id, proven)
        await transaction.second_factors.save(user_id, SecondFactor(secret))
        await transaction.audit.record("second_factor.started", user_id, user_id)
        return Begun(secret, owner.user)

    return (await store.write(work, by)).value


async def confirm(store: Store, clock: Clock, by: AuditSource, user_id: UUID, session_id: UUID, otp: str) -> list[str]:
    """Turn on what was begun, as a code of it shows that the app has it; ends all sessions but this one.

    Returns its recovery codes, of which only digests are kept. Raises `OtpFieldWrong`; `Conflict` where nothing was begun,
    or where it is on already.
    """
    made = recovery_codes.make()

    async def work(transaction: Transaction) -> None:
        owner = await transaction.users.find_credentials(user_id)
        if owner is None:
            raise InvalidToken()
        if owner.asks_otp:
            raise Conflict(
                "The second factor is on already; POST /v1/auth/totp/recovery-codes makes new recovery codes."
            )
        if owner.second_factor is None:
            raise Conflict("No second factor was begun; POST /v1/auth/totp begins one.")
        now = clock()
        step = totp.step_of(owner.second_factor.secret, otp, now)
        if step is None:
            raise OtpFieldWrong(begun=True)
        # With its step: the code that turned it on does not log in as well.
        await transaction.second_factors.save(user_id, replace(owner.second_factor, since=now, last_step=step))
        await _keep(transaction, user_id, made)
        await transaction.audit.record("second_factor.confirmed", user_id, user_id)
        await notify_owner(transaction, clock, owner.user.email, "totp_on")
        await revoke_sessions(transaction, clock, user_id, user_id, "second_factor", but=session_id)

    await store.write(work, by)
    return made


async def renew_codes(
    store: Store, hasher: Hasher, clock: Clock, by: AuditSource, user_id: UUID, password: str, otp: str | None
) -> list[str]:
    """New recovery codes, in the place of all before. Raises `WrongPassword`, `OtpFieldMissing`, `OtpFieldWrong`, `Conflict`."""
    proven = await verify_password(store, hasher, user_id, password)
    made = recovery_codes.make()

    async def work(transaction: Transaction) -> None:
        owner = await require_reauth(transaction, clock, user_id, proven, otp)
        if not owner.asks_otp:
            raise Conflict("This account has no second factor.")
        await _keep(transaction, user_id, made)
        await transaction.audit.record("recovery_codes.renewed", user_id, user_id)
        await notify_owner(transaction, clock, owner.user.email, "new_codes")

    await store.write(work, by)
    return made


async def remove(
    store: Store,
    hasher: Hasher,
    clock: Clock,
    by: AuditSource,
    user_id: UUID,
    session_id: UUID,
    password: str,
    otp: str | None,
) -> bool:
    """Turn off the caller's second factor, which revokes all other sessions, or discard an unconfirmed one; returns whether it was active.

    Raises `WrongPassword`, `OtpFieldMissing`, `OtpFieldWrong`; `Conflict` where there is none.
    """
    proven = await verify_password(store, hasher, user_id, password)

    async def work(transaction: Transaction) -> bool:
        owner = await require_reauth(transaction, clock, user_id, proven, otp)
        if owner.second_factor is None:
            raise Conflict("This account has no second factor.")
        await transaction.second_factors.delete(user_id)
        await transaction.audit.record("second_factor.removed", user_id, user_id)
        if owner.asks_otp:
            await _turned_off(transaction, clock, user_id, owner.user, session_id)
        return owner.asks_otp

    return (await store.write(work, by)).value


async def remove_from(store: Store, clock: Clock, by: AuditSource, caller: Caller, user_id: UUID) -> None:
    """Turn off another's, who has lost it; ends all its sessions. For administrators.

    Raises `Forbidden`, also for the caller's own, which requires a code, and `NotFound` if there is none.
    """
    if not caller.is_admin:
        raise Forbidden()
    if caller.id == user_id:
        raise Forbidden("Your own takes your password and a code: POST /v1/auth/totp/remove.")

    async def work(transaction: Transaction) -> None:
        owner = await transaction.users.find_credentials(user_id)
        if owner is None or not owner.asks_otp:
            raise NotFound()
        await transaction.second_factors.delete(user_id)
        await transaction.audit.record("second_factor.removed", caller.id, user_id)
        await _turned_off(transaction, clock, caller.id, owner.user, None)

    await store.write(work, by)


async def _keep(transaction: Transaction, user_id: UUID, made: list[str]) -> None:
    digests = [digest for code in made if (digest := recovery_codes.digest_of(code)) is not None]
    await transaction.second_factors.replace_recovery_codes(user_id, digests)


async def _turned_off(transaction: Transaction, clock: Clock, actor: UUID, owner: User, but: UUID | None) -> None:
    await notify_owner(transaction, clock, owner.email, "totp_off")
    await revoke_sessions(transaction, clock, actor, owner.id, "second_factor", but)
