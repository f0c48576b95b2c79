"""Telling the owner of an account what was done to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from service.domain.mail import Mail, Notice
from service.domain.ports import Clock, Transaction

# Where mails cannot be sent at once; later nobody wants to know.
_FOR: Final = timedelta(days=1)


async def tell_owner(transaction: Transaction, clock: Clock, email: str, notice: Notice) -> None:
    """Have it mailed to the address that the account has, or had until now.

    Whoever reads the mail learns of it, also if it was somebody else (ASVS 5.0, 6.3.7).
    """
    now = clock()
    await transaction.put_mail(Mail(notice, email, now, now + _FOR))
