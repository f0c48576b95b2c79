"""Telling the owner of an account what was done to it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from service.domain.mail import RESEND_INTERVAL, Mail, Notice
from service.domain.ports import Clock, Transaction

# Where mails cannot be sent at once; later nobody wants to know.
_FOR: Final = timedelta(days=1)


async def tell_owner(transaction: Transaction, clock: Clock, email: str, notice: Notice) -> None:
    """Have it mailed to the address that the account has, or had until now.

    The reader learns of a change that another person has made (ASVS 5.0, 6.3.7). A further notice of its kind to one address
    waits until `RESEND_INTERVAL` after the one before: an account can be registered with the address of another person, and
    changed again and again to fill that mailbox.
    """
    now = clock()
    await transaction.put_mail(Mail(notice, email, await _next_moment(transaction, now, email, notice), now + _FOR))


async def _next_moment(transaction: Transaction, now: datetime, email: str, notice: Notice) -> datetime:
    earlier = await transaction.mail(email, notice)
    if earlier is None:
        return now
    if earlier.state == "sending":  # its `due_at` is the end of a claim
        return now + RESEND_INTERVAL
    return max(now, earlier.due_at)
