"""E-mail change and verification: proof that a user receives mail at an address."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from service.domain.audit import AuditSource
from service.domain.errors import InvalidMailToken
from service.domain.mail.mail import (
    Mail,
    MailToken,
    MailTokenRef,
    is_expired,
)
from service.domain.mail.notices import notify_owner
from service.domain.mail.requests import request_mail, request_token_mail
from service.domain.ports import Clock, Hasher, Store, Transaction
from service.domain.users.accounts import put_changed
from service.domain.users.registration import confirm_registration, gives_way, remove
from service.domain.users.user import User


async def ask(
    store: Store, clock: Clock, by: AuditSource, user_id: UUID, proven: str, email: str, ttl: timedelta
) -> None:
    """Send a mail to an address that a user wants to have; if the address has an account, its owner is notified instead.

    The response is the same in every case. A request for another address invalidates the tokens of the
    one before; a repeated one ends none. Where it is the address that the user has, there is nothing to ask.

    Args:
        proven: the hash that `reauthentication.show` returned: if the password was changed since, nothing is sent.
        ttl: for how long the address can be confirmed.
    """

    async def work(transaction: Transaction) -> None:
        now = clock()
        owner = await transaction.users.find_credentials(user_id)
        if owner is None or not owner.user.active or owner.password_hash != proven:
            return
        earlier = await transaction.mail_tokens.find(user_id, "move")
        if earlier is not None and earlier.email != email:
            await transaction.mail_tokens.delete_of_user(user_id, "move")
        if owner.user.email == email:
            return
        mail = Mail("move", email, now, now + ttl)
        for holder in await transaction.users.find_by_identity((), (), (email,)):
            if not await gives_way(transaction, holder.user, email, now):
                mail = replace(mail, kind="known")
        if mail.kind == "move":
            await request_token_mail(transaction, mail, user_id)
        else:
            await transaction.mail_tokens.delete_of_user(user_id, "move")
            await request_mail(transaction, mail)
        await transaction.audit.record("email_change.requested", user_id, user_id)

    await store.write(work, by)


async def confirm(
    store: Store, hasher: Hasher, clock: Clock, by: AuditSource, presented: MailTokenRef, password: str | None = None
) -> None:
    """Do what the token of an address was sent for: confirm a registration with a password, or move its user to it.

    A token of a move does not look at the password. Raises `InvalidMailToken`; `Invalid` for a registration without a
    password or with a common one, `AlreadyExists` when another account has come to have the address: the token stays valid then.
    """
    if await store.mail_tokens.find("verify", presented) is not None:
        await confirm_registration(store, hasher, clock, by, presented, password)
        return

    async def work(transaction: Transaction) -> None:
        if (token := await transaction.mail_tokens.consume("move", presented)) is None:
            raise InvalidMailToken()
        await _move(transaction, clock, await _owner(transaction, clock, token, presented), token)

    await store.write(work, by)


async def _owner(transaction: Transaction, clock: Clock, token: MailToken, presented: MailTokenRef) -> User:
    user = await transaction.users.find(token.user_id)
    if user is None or is_expired(token, presented, clock()):
        raise InvalidMailToken()
    return user


async def _move(transaction: Transaction, clock: Clock, user: User, token: MailToken) -> None:
    now = clock()
    if not user.active:
        raise InvalidMailToken()
    if user.email == token.email:
        return
    for holder in await transaction.users.find_by_identity((), (), (token.email,)):
        if await gives_way(transaction, holder.user, token.email, now):
            await remove(transaction, holder.user, now)
    await put_changed(transaction, user, replace(user, email=token.email), ("email",), user.id, now)
    await notify_owner(transaction, clock, user.email, "moved")
