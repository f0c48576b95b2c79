"""The outbox and the mail tokens of the memory store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import get_args
from uuid import UUID

from service.domain.mail.mail import Mail, MailKind, MailToken, MailTokenRef, Purpose
from service.store.memory.changes import Changes
from service.store.memory.tables import Tables


class MemoryMailReads:
    """The outbox, as it was last committed."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def list_due(self, now: datetime, limit: int) -> Sequence[Mail]:
        due = [mail for mail in self._tables.mails.values() if mail.due_at <= now]
        return sorted(due, key=lambda mail: mail.due_at)[:limit]


class MemoryMailWrites:
    """The outbox of a transaction."""

    __slots__ = ("_changes", "_mails")

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._mails = changes.tables.mails

    async def find(self, email: str, kind: MailKind) -> Mail | None:
        return self._mails.get((email, kind))

    async def enqueue(self, mail: Mail) -> None:
        self._changes.set(self._mails, (mail.email, mail.kind), mail)

    async def claim(self, mail: Mail, until: datetime) -> Mail | None:
        if self._mails.get((mail.email, mail.kind)) != mail:
            return None
        claimed = replace(mail, due_at=until, tries=mail.tries + 1, state="sending")
        await self.enqueue(claimed)
        return claimed

    async def delete_unchanged(self, mail: Mail) -> bool:
        if self._mails.get((mail.email, mail.kind)) != mail:
            return False
        self._changes.set(self._mails, (mail.email, mail.kind), None)
        return True


class MemoryMailTokenReads:
    """The mail tokens, as they were last committed."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def find(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        return self._tables.mail_token(purpose, presented)

    async def list_expired(self, now: datetime, limit: int) -> Sequence[MailToken]:
        expired = [token for token in self._tables.mail_tokens.values() if token.expires_at <= now]
        return sorted(expired, key=lambda token: token.expires_at)[:limit]


class MemoryMailTokenWrites:
    """The mail tokens of a transaction."""

    __slots__ = ("_changes", "_tables")

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._tables = changes.tables

    async def find(self, user_id: UUID, purpose: Purpose) -> MailToken | None:
        return self._tables.mail_tokens.get((user_id, purpose))

    async def find_next_for_address(self, email: str, purpose: Purpose) -> MailToken | None:
        tokens = [
            token for token in self._tables.mail_tokens.values() if (token.email, token.purpose) == (email, purpose)
        ]
        not_mailed = [token for token in tokens if not token.digests]
        if not_mailed:
            return min(not_mailed, key=lambda token: (token.expires_at, -token.user_id.int))
        return max(tokens, key=lambda token: (token.expires_at, token.user_id), default=None)

    async def save(self, token: MailToken) -> None:
        self._changes.set(self._tables.mail_tokens, (token.user_id, token.purpose), token)

    async def consume(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        found = self._tables.mail_token(purpose, presented)
        if found is not None:
            self._changes.set(self._tables.mail_tokens, (found.user_id, purpose), None)
        return found

    async def delete_of_user(self, user_id: UUID, purpose: Purpose | None = None) -> None:
        for each in (purpose,) if purpose else get_args(Purpose):
            self._changes.set(self._tables.mail_tokens, (user_id, each), None)
