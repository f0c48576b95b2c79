"""Telling the owner of an account what was done to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from service.domain.mail.mail import Mail, Notice
from service.domain.mail.requests import enqueue_spaced
from service.domain.ports import Clock, Transaction

# If a mail cannot be sent at once, it is retried for this long; a later notice would not help.
_FOR: Final = timedelta(days=1)


async def notify_owner(transaction: Transaction, clock: Clock, email: str, notice: Notice) -> None:
    """Have it mailed to the address that the account has, or had until now.

    The reader learns of a change that another person has made (ASVS 5.0, 6.3.7). A further notice of its kind to one address
    waits until `RESEND_INTERVAL` after the one before: an account can be registered with the address of another person, and
    changed again and again to fill that mailbox.
    """
    now = clock()
    await enqueue_spaced(transaction, Mail(notice, email, now, now + _FOR))
