"""The outbox of mails, and the tokens that mails carry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from service.domain.mail.mail import Mail, MailKind, MailToken, MailTokenRef, Purpose


class MailReads(Protocol):
    """The outbox of a store."""

    async def list_due(self, now: datetime, limit: int) -> Sequence[Mail]:
        """Mails to be sent, the longest due first."""


class MailWrites(Protocol):
    """The outbox as one transaction sees and changes it."""

    async def find(self, email: str, kind: MailKind) -> Mail | None: ...

    async def enqueue(self, mail: Mail) -> None:
        """Store a mail; it replaces one of its kind for its address."""

    async def claim(self, mail: Mail, until: datetime) -> Mail | None:
        """Claim a mail for sending; other workers leave it alone until then. None if it changed since it was read."""

    async def delete_unchanged(self, mail: Mail) -> bool:
        """Delete a mail unless it was claimed or replaced since it was read; whether it was deleted."""


class MailTokenReads(Protocol):
    """The mail tokens of a store."""

    async def find(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        """The tokens that `MailTokenWrites.consume` would consume; they stay."""

    async def list_expired(self, now: datetime, limit: int) -> Sequence[MailToken]:
        """Tokens that have expired, the oldest first."""


class MailTokenWrites(Protocol):
    """The mail tokens as one transaction sees and changes them."""

    async def find(self, user_id: UUID, purpose: Purpose) -> MailToken | None: ...

    async def find_next_for_address(self, email: str, purpose: Purpose) -> MailToken | None:
        """The tokens for which the next mail to an address is.

        Users without a mailed token come first, the earliest request first; then the newest request. So repeated
        requests of one user do not keep the mails from another user of the same address.
        """

    async def save(self, token: MailToken) -> None:
        """Store tokens; they replace those that their user, which exists, has for this purpose."""

    async def consume(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        """The tokens of which this is one, expired or not. All of them are consumed atomically."""

    async def delete_of_user(self, user_id: UUID, purpose: Purpose | None = None) -> None:
        """Delete a user's tokens for one purpose; None deletes those for every purpose."""
