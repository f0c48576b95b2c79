"""Registering with an address that has to be proven: nobody is told whether it has an account, but its owner."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import uuid_utils.compat

from service.domain.accounts import NewUser
from service.domain.audit import UPKEEP, By
from service.domain.events import Event
from service.domain.mail import Mail, MailKind, MailToken
from service.domain.ports import Clock, Store, Transaction
from service.domain.users import User


async def register(store: Store, clock: Clock, by: By, new: NewUser, password_hash: str, ttl: timedelta) -> None:
    """Make an account that is not active yet, and have its address asked; or have that told why there is none.

    Whatever it finds, one mail waits afterwards, and nothing else tells. A registration that nobody has confirmed gives way
    to a newer one with its address: else whoever came first would choose the password with which the owner's confirms.

    Args:
        ttl: for how long the address can be confirmed.
    """

    async def work(transaction: Transaction) -> None:
        now = clock()
        kind: MailKind = "verify"
        known: UUID | None = None
        for holder in await transaction.holders((), (new.username,), (new.email,)):
            if await gives_way(transaction, holder.user, new.email, now):
                await remove(transaction, holder.user, now)
            elif holder.user.email == new.email:
                kind, known = "known", holder.user.id
            elif kind == "verify":
                kind, known = "taken", holder.user.id
        if kind == "verify":
            user = User(
                uuid_utils.compat.uuid7(), new.username, new.email, new.name, new.age, new.role, False, now, now
            )
            await transaction.put_user(user)
            await transaction.put_password(user.id, password_hash)
            await transaction.put_mail_token(MailToken(user.id, "verify", user.email, now + ttl))
            await transaction.append(Event("user.created", now, user.id, user.id, user))
        else:
            await transaction.record("registration.repeated", None, known, {"reason": kind})
        await transaction.put_mail(Mail(kind, new.email, now, now + ttl))

    await store.write(work, by)


async def forget_expired(store: Store, clock: Clock, limit: int = 100) -> bool:
    """Forget tokens that have expired, and with them accounts that nobody has confirmed; whether there may be more."""
    expired = await store.expired_mail_tokens(clock(), limit)

    async def work(transaction: Transaction) -> None:
        now = clock()
        for token in expired:
            # Another one may have been sent meanwhile, or the address confirmed.
            if await transaction.mail_token(token.user_id, token.purpose) != token:
                continue
            user = await transaction.user(token.user_id)
            if user is not None and token.purpose == "verify" and not user.active:
                await remove(transaction, user, now)
            else:
                await transaction.forget_mail_tokens(token.user_id, token.purpose)

    if expired:
        await store.write(work, UPKEEP)
    return len(expired) == limit


async def gives_way(transaction: Transaction, user: User, email: str, now: datetime) -> bool:
    """Whether this is an account that nobody has confirmed: with that very address, or too late."""
    token = await transaction.mail_token(user.id, "verify")
    return token is not None and not user.active and (user.email == email or token.expires_at <= now)


async def remove(transaction: Transaction, user: User, now: datetime) -> None:
    await transaction.delete_user(user.id)
    await transaction.append(Event("user.deleted", now, None, user.id))
