"""Registration with a verified address: the response never reveals whether an address is registered."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import uuid_utils.compat

from service.domain.audit import MAINTENANCE, AuditSource
from service.domain.auth.password_policy import reject_common
from service.domain.auth.revocation import revoke_access
from service.domain.errors import FieldError, Invalid, InvalidMailToken
from service.domain.events.event import Event
from service.domain.mail.mail import (
    Mail,
    MailToken,
    MailTokenRef,
    is_expired,
)
from service.domain.mail.requests import request_mail, request_token_mail
from service.domain.ports import Clock, Hasher, Store, Transaction
from service.domain.users.accounts import NewUser, put_changed
from service.domain.users.user import User

_PASSWORD_MISSING: Final = FieldError(
    "/password", "missing", "Must be there: this token confirms a registration, and sets the password of the account."
)


async def register(store: Store, clock: Clock, by: AuditSource, new: NewUser, ttl: timedelta) -> None:
    """Create an inactive account and send a verification mail; if the address or name exists, send a mail that says so.

    Whatever it finds, one mail waits afterwards, and nothing else tells. The account has no password: the client that
    registers an address need not be its owner, so the owner sets the password with the token from the mail
    (`confirm_registration`). While a registration waits to be confirmed, a newer one with its address only mails another
    token for it: a repeated request does not end what was mailed before. After `ttl` it gives way to one with another username.

    Args:
        ttl: for how long the address can be confirmed.
    """

    async def work(transaction: Transaction) -> bool:
        now = clock()
        taken: UUID | None = None
        mail = Mail("verify", new.email, now, now + ttl)
        for holder in await transaction.users.find_by_identity((), (new.username,), (new.email,)):
            user, token = holder.user, await _pending(transaction, holder.user)
            if token is not None and token.expires_at <= now:
                await remove(transaction, user, now)
            elif user.email != new.email:
                taken = user.id
            elif token is None:
                return await _repeat(transaction, replace(mail, kind="known"), user)
            elif user.username == new.username or now < user.created_at + ttl:
                return await _repeat(transaction, mail, user)
            else:
                await remove(transaction, user, now)
        if taken is not None:
            await transaction.audit.record("registration.repeated", None, taken, {"reason": "taken"})
            return await request_mail(transaction, replace(mail, kind="taken"))
        user = User(uuid_utils.compat.uuid7(), new.username, new.email, new.name, new.age, new.role, False, now, now)
        await transaction.users.save(user)
        await transaction.mail_tokens.save(MailToken(user.id, "verify", user.email, now + ttl))
        await transaction.events.append(Event("user.created", now, user.id, user.id, user))
        await transaction.mails.enqueue(mail)
        return True

    await store.write(work, by)


async def _pending(transaction: Transaction, user: User) -> MailToken | None:
    """The token of a user who has not confirmed the registration; None for any other user."""
    return None if user.active else await transaction.mail_tokens.find(user.id, "verify")


async def _repeat(transaction: Transaction, mail: Mail, user: User) -> bool:
    """Mail the owner of an address that is registered already."""
    reason = "known" if mail.kind == "known" else "pending"
    await transaction.audit.record("registration.repeated", None, user.id, {"reason": reason})
    if mail.kind == "known":
        return await request_mail(transaction, mail)
    return await request_token_mail(transaction, mail, user.id)


async def confirm_registration(
    store: Store, hasher: Hasher, clock: Clock, by: AuditSource, presented: MailTokenRef, password: str | None
) -> None:
    """Activate the account that a registration token is for, with this password; the token is consumed.

    Credentials that the account has by then end: only the holder of the mailbox has chosen the new password. The token stays
    valid where this raises `Invalid`: the password is None, or one of the commonest.

    Raises `InvalidMailToken` before anything is hashed.
    """
    token = await store.mail_tokens.find("verify", presented)
    user = _check(token, presented, await _user_of(store, token), clock)
    if password is None:
        raise Invalid(_PASSWORD_MISSING)
    reject_common(password, user.username, user.email, user.name)
    password_hash = await hasher.hash(password)

    async def work(transaction: Transaction) -> None:
        # Checked again: another request may have consumed the token during the hash.
        taken = await transaction.mail_tokens.consume("verify", presented)
        user = _check(taken, presented, None if taken is None else await transaction.users.find(taken.user_id), clock)
        await transaction.users.set_password(user.id, password_hash)
        await revoke_access(transaction, clock, user.id, user.id, "password")
        if user.active:  # an administrator has activated it meanwhile
            await transaction.audit.record("password.reset", user.id, user.id)
        else:
            await put_changed(transaction, user, replace(user, active=True), ("active",), user.id, clock())

    await store.write(work, by)


async def _user_of(store: Store, token: MailToken | None) -> User | None:
    return None if token is None else (await store.users.find(token.user_id)).value


def _check(token: MailToken | None, presented: MailTokenRef, user: User | None, clock: Clock) -> User:
    """The user whose registration a token confirms; raises `InvalidMailToken`."""
    if token is None or user is None or is_expired(token, presented, clock()) or user.email != token.email:
        raise InvalidMailToken()
    return user


async def forget_expired(store: Store, clock: Clock, limit: int = 100) -> bool:
    """Delete expired tokens, and unconfirmed accounts with them; returns whether there may be more."""
    expired = await store.mail_tokens.list_expired(clock(), limit)

    async def work(transaction: Transaction) -> None:
        now = clock()
        for token in expired:
            # Another one may have been sent meanwhile, or the address confirmed.
            if await transaction.mail_tokens.find(token.user_id, token.purpose) != token:
                continue
            user = await transaction.users.find(token.user_id)
            if user is not None and token.purpose == "verify" and not user.active:
                await remove(transaction, user, now)
            else:
                await transaction.mail_tokens.delete_of_user(token.user_id, token.purpose)

    if expired:
        await store.write(work, MAINTENANCE)
    return len(expired) == limit


async def gives_way(transaction: Transaction, user: User, email: str, now: datetime) -> bool:
    """Whether this is an unconfirmed account with that address, or one whose time to confirm is over."""
    token = await transaction.mail_tokens.find(user.id, "verify")
    return token is not None and not user.active and (user.email == email or token.expires_at <= now)


async def remove(transaction: Transaction, user: User, now: datetime) -> None:
    await transaction.users.delete(user.id)
    await transaction.events.append(Event("user.deleted", now, None, user.id))
