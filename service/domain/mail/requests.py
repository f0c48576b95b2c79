"""Mails that anyone can have sent to an address: no two of a kind within minutes, and none ends what was mailed before."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import cast
from uuid import UUID

from service.domain.mail.mail import (
    RESEND_INTERVAL,
    Mail,
    MailToken,
    Purpose,
)
from service.domain.ports import Transaction


async def request_mail(transaction: Transaction, mail: Mail) -> bool:
    """Enqueue a mail, unless one like it is being sent, or was sent within `RESEND_INTERVAL`; whether it was enqueued.

    Otherwise a stranger could fill a mailbox by repeating a request.
    """
    earlier = await transaction.mails.find(mail.email, mail.kind)
    if earlier is not None and earlier.state != "waiting" and earlier.due_at > mail.due_at:
        return False
    await enqueue_spaced(transaction, mail)
    return True


async def request_token_mail(transaction: Transaction, mail: Mail, user_id: UUID) -> bool:
    """The same for a mail with a token for a user. The tokens that its address was mailed before stay valid.

    Where none of them is left, as after a reset, the mail is only delayed.
    """
    token = await tokens_for(transaction, mail, user_id)
    if not token.digests:
        await enqueue_spaced(transaction, mail)
    elif not await request_mail(transaction, mail):
        return False
    await transaction.mail_tokens.save(token)
    return True


async def enqueue_spaced(transaction: Transaction, mail: Mail) -> None:
    """Enqueue a mail, to be sent at the earliest `RESEND_INTERVAL` after the one of its kind before."""
    earlier = await transaction.mails.find(mail.email, mail.kind)
    await transaction.mails.enqueue(replace(mail, due_at=_earliest(earlier, mail.due_at)))


async def tokens_for(transaction: Transaction, mail: Mail, user_id: UUID) -> MailToken:
    """The user's tokens that are valid at the address of a mail, which adds one; their row lives as long as the mail."""
    purpose = cast(Purpose, mail.kind)
    found = await transaction.mail_tokens.find(user_id, purpose)
    if found is None or found.email != mail.email or found.expires_at <= mail.due_at:
        return MailToken(user_id, purpose, mail.email, mail.expires_at)
    return replace(found, expires_at=max(found.expires_at, mail.expires_at))


def _earliest(earlier: Mail | None, now: datetime) -> datetime:
    if earlier is None or (earlier.state == "waiting" and earlier.tries):
        return now  # none was sent: after an outage of the mail server its user need not wait for the next try
    if earlier.state == "sending":  # its `due_at` is the end of a claim
        return now + RESEND_INTERVAL
    return max(now, earlier.due_at)
