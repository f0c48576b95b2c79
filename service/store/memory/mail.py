"""The mails and tokens of a write of the memory store."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import get_args
from uuid import UUID

from service.domain.mail.mail import (
    Mail,
    MailKind,
    MailToken,
    MailTokenRef,
    Purpose,
)
from service.store.memory.rows import MemoryRows


class MemoryMail(MemoryRows):
    """The mails and mail tokens of a transaction."""

    async def mail(self, email: str, kind: MailKind) -> Mail | None:
        return self._tables.mails.get((email, kind))

    async def put_mail(self, mail: Mail) -> None:
        self._set(self._tables.mails, (mail.email, mail.kind), mail)

    async def claim_mail(self, mail: Mail, until: datetime) -> Mail | None:
        if self._tables.mails.get((mail.email, mail.kind)) != mail:
            return None
        claimed = replace(mail, due_at=until, tries=mail.tries + 1, state="sending")
        await self.put_mail(claimed)
        return claimed

    async def drop_mail(self, mail: Mail) -> bool:
        if self._tables.mails.get((mail.email, mail.kind)) != mail:
            return False
        self._set(self._tables.mails, (mail.email, mail.kind), None)
        return True

    async def mail_token(self, user_id: UUID, purpose: Purpose) -> MailToken | None:
        return self._tables.mail_tokens.get((user_id, purpose))

    async def put_mail_token(self, token: MailToken) -> None:
        self._set(self._tables.mail_tokens, (token.user_id, token.purpose), token)

    async def take_mail_token(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        found = self._tables.mail_token(purpose, presented)
        if found is not None:
            self._set(self._tables.mail_tokens, (found.user_id, purpose), None)
        return found

    async def mail_token_to(self, email: str, purpose: Purpose) -> MailToken | None:
        tokens = [
            token for token in self._tables.mail_tokens.values() if (token.email, token.purpose) == (email, purpose)
        ]
        not_mailed = [token for token in tokens if not token.digests]
        if not_mailed:
            return min(not_mailed, key=lambda token: (token.expires_at, -token.user_id.int))
        return max(tokens, key=lambda token: (token.expires_at, token.user_id), default=None)

    async def forget_mail_tokens(self, user_id: UUID, purpose: Purpose | None = None) -> None:
        for each in (purpose,) if purpose else get_args(Purpose):
            self._set(self._tables.mail_tokens, (user_id, each), None)
