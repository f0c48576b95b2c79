"""Delivery of mails."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from service.domain.mail.templates import RenderedEmail


class Mailer(Protocol):
    """Sends rendered mails."""

    @property
    def longest(self) -> timedelta:
        """No call of `send` takes longer."""

    async def send(self, letter: RenderedEmail) -> None:
        """Send it once; when this returns it has been taken. Cancelling is safe: then it may have been, or not.

        Raises `MailRefused` when it will never be taken, `Unavailable` when it may be later.
        """
