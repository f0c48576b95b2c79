"""Passwords that take the place of others: of one that was forgotten, and of one that is known."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from service.domain.audit import AuditSource
from service.domain.auth.password_policy import reject_common
from service.domain.auth.reauthentication import require_reauth, verify_password
from service.domain.auth.revocation import revoke_access, revoke_sessions
from service.domain.errors import InvalidMailToken, InvalidToken
from service.domain.mail.mail import (
    Mail,
    MailToken,
    MailTokenRef,
    is_expired,
)
from service.domain.mail.notices import notify_owner
from service.domain.mail.requests import request_token_mail
from service.domain.ports import Clock, Hasher, Store, Transaction
from service.domain.users.user import Credentials, User


async def forgot(store: Store, clock: Clock, by: AuditSource, email: str, ttl: timedelta) -> None:
    """Mail a token for a new password to an address, if an active account has it.

    An earlier token stays valid, so that a stranger who requests another does not end it.
    """
    credentials = await store.users.find_by_login(email)
    if credentials is None or credentials.user.email != email or not credentials.user.active:
        return
    user_id = credentials.user.id

    async def work(transaction: Transaction) -> None:
        now = clock()
        await request_token_mail(transaction, Mail("reset", email, now, now + ttl), user_id)
        await transaction.audit.record("password_reset.requested", None, user_id)

    await store.write(work, by)


async def reset(
    store: Store, hasher: Hasher, clock: Clock, by: AuditSource, presented: MailTokenRef, password: str
) -> Credentials:
    """Set the password of the account whose address a token proves, end its sessions and API tokens, and tell whose it is.

    The previous holder of the password may have created the API tokens, so they end as well.

    Raises `InvalidMailToken`, before anything is hashed; `Invalid` for a common password, and then the token stays.
    """
    token = await store.mail_tokens.find("reset", presented)
    user = None if token is None else (await store.users.find(token.user_id)).value
    _check(token, presented, user, clock)
    if user is not None:
        reject_common(password, user.username, user.email, user.name)
    password_hash = await hasher.hash(password)

    async def work(transaction: Transaction) -> Credentials:
        # The token was read before this transaction; another request may have used it meanwhile.
        taken = await transaction.mail_tokens.consume("reset", presented)
        owner = None if taken is None else await transaction.users.find_credentials(taken.user_id)
        if owner is None:
            raise InvalidMailToken()
        user = _check(taken, presented, owner.user, clock)
        await transaction.audit.record("password.reset", user.id, user.id)
        await _replace(transaction, clock, owner, password_hash)
        await revoke_access(transaction, clock, user.id, user.id, "password")
        return owner

    return (await store.write(work, by)).value


async def change(
    store: Store,
    hasher: Hasher,
    clock: Clock,
    by: AuditSource,
    user_id: UUID,
    session_id: UUID,
    current: str,
    new: str,
    otp: str | None = None,
) -> None:
    """Set the password of the caller, and revoke all other sessions.

    Raises `WrongPassword` unless `current` is the present one, `OtpFieldMissing` and `OtpFieldWrong` where there is a second factor,
    `Invalid` for a common password.
    """
    user = (await store.users.find(user_id)).value
    if user is None:
        raise InvalidToken()
    reject_common(new, user.username, user.email, user.name, pointer="/new")
    proven = await verify_password(store, hasher, user_id, current, "/current")
    password_hash = await hasher.hash(new)

    async def work(transaction: Transaction) -> None:
        owner = await require_reauth(transaction, clock, user_id, proven, otp, "/current")
        await transaction.audit.record("password.changed", user_id, user_id)
        await _replace(transaction, clock, owner, password_hash)
        await revoke_sessions(transaction, clock, user_id, user_id, "password", but=session_id)

    await store.write(work, by)


def _check(token: MailToken | None, presented: MailTokenRef, user: User | None, clock: Clock) -> User:
    """The user whom a token is good for; raises `InvalidMailToken`."""
    if (
        token is None
        or is_expired(token, presented, clock())
        or user is None
        or not user.active
        or user.email != token.email  # it was sent to an address that is another's by now
    ):
        raise InvalidMailToken()
    return user


async def _replace(transaction: Transaction, clock: Clock, owner: Credentials, password_hash: str) -> None:
    user = owner.user
    if owner.second_factor is not None and not owner.asks_otp:
        # A second factor that was begun with the old password must not be confirmed after the change.
        await transaction.second_factors.delete(user.id)
    await transaction.users.set_password(user.id, password_hash)
    await notify_owner(transaction, clock, user.email, "changed")
