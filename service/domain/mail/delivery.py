"""From a mail that waits to the letter that is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from service.domain.audit import MAIL
from service.domain.mail.mail import (
    RESEND_INTERVAL,
    Mail,
    Purpose,
    new_token,
)
from service.domain.mail.requests import tokens_for
from service.domain.mail.templates import RenderedEmail, TemplateContext, write
from service.domain.ports import Clock, Store, Transaction
from service.domain.users.user import User


class ClaimedEmail(NamedTuple):
    """A mail that this worker has claimed. `letter` is None if there is nothing to send any more."""

    mail: Mail
    letter: RenderedEmail | None


async def claim_and_render(
    store: Store, clock: Clock, mail: Mail, head: TemplateContext, lease: timedelta
) -> ClaimedEmail | None:
    """Claim a mail for the lease and write its letter; None when another process sends it, or when it was sent before.

    The token of the letter is generated here; those of earlier tries stay valid, because one of them may have arrived. The
    mail comes due again by itself if the process dies.
    """

    async def work(transaction: Transaction) -> ClaimedEmail | None:
        now = clock()
        if mail.state == "sent":
            await transaction.mails.delete_unchanged(mail)
            return None
        claimed = await transaction.mails.claim(mail, now + lease)
        if claimed is None:
            return None
        if claimed.expires_at <= now:
            return ClaimedEmail(claimed, None)
        return ClaimedEmail(claimed, await _letter(transaction, clock, claimed, head))

    return (await store.write(work, MAIL)).value


async def release(store: Store, clock: Clock, mail: Mail) -> None:
    """Have a claimed mail wait for its next try."""

    async def work(transaction: Transaction) -> None:
        if await transaction.mails.delete_unchanged(mail):
            await transaction.mails.enqueue(replace(mail, due_at=clock() + mail.next_due, state="waiting"))

    await store.write(work, MAIL)


async def finish(store: Store, clock: Clock, mail: Mail) -> None:
    """Note that a mail was sent: this delays another of its kind (`request_mail`, `notify_owner`)."""

    async def work(transaction: Transaction) -> None:
        until = min(clock() + RESEND_INTERVAL, mail.expires_at)
        if await transaction.mails.delete_unchanged(mail):
            await transaction.mails.enqueue(replace(mail, due_at=until, state="sent"))

    await store.write(work, MAIL)


async def drop(store: Store, mail: Mail) -> None:
    """Delete a mail that will never be sent."""

    async def work(transaction: Transaction) -> None:
        await transaction.mails.delete_unchanged(mail)

    await store.write(work, MAIL)


async def _letter(transaction: Transaction, clock: Clock, mail: Mail, head: TemplateContext) -> RenderedEmail | None:
    user = await _user_of(transaction, mail)
    match mail.kind:
        case "taken" | "moved":
            return write(head, mail.kind, mail.email)
        case "changed" | "totp_on" | "totp_off" | "new_codes" | "code_used":
            # Also where the account has moved since; and without its name, because the address may be another's by then.
            return write(head, mail.kind, mail.email)
        case _ if user is None:
            return None  # the account has gone, or has another address
        case "move":
            return await _with_token(transaction, clock, user, "move", mail.email, head)
        case "verify":
            if user.active or await transaction.mail_tokens.find(user.id, "verify") is None:
                return None
            return await _with_token(transaction, clock, user, "verify", mail.email, head)
        case "reset":
            return await _with_token(transaction, clock, user, "reset", mail.email, head) if user.active else None
        case "known":
            return write(head, mail.kind, mail.email, user.username)


async def _user_of(transaction: Transaction, mail: Mail) -> User | None:
    """Whom a mail is about: who has its address, or would have it."""
    if mail.kind == "move":
        token = await transaction.mail_tokens.find_next_for_address(mail.email, "move")
        user = None if token is None else await transaction.users.find(token.user_id)
        return user if user is not None and user.active else None
    found = await transaction.users.find_by_identity((), (), (mail.email,))
    return found[0].user if found else None


async def _with_token(
    transaction: Transaction, clock: Clock, user: User, purpose: Purpose, email: str, head: TemplateContext
) -> RenderedEmail:
    """A letter with another token, beside those that were mailed before."""
    now = clock()
    expires_at = now + head.ttls[purpose]
    text, digest = new_token(user.id, expires_at)
    token = await tokens_for(transaction, Mail(purpose, email, now, expires_at), user.id)
    await transaction.mail_tokens.save(token.with_newest(digest, expires_at))
    return write(head, purpose, email, user.username, text)
