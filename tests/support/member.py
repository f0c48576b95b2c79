"""One account with a password, two sessions and an API token, on a memory store: what rules that protect accounts act on."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Final

from service.domain.audit import AuditQuery
from service.domain.auth.totp import SecondFactor
from service.domain.events.event import Event
from service.domain.mail.mail import (
    MailToken,
    MailTokenRef,
    Purpose,
    new_token,
    parse_token,
)
from service.domain.users.user import Credentials
from service.store.memory.store import MemoryStore
from tests.support.clock import ManualClock
from tests.support.domain import BY, PlainHasher, a_user, keep
from tests.support.stores import a_session, a_token, keep_session, keep_token, whole_log

PASSWORD: Final = "correct horse battery staple"
NEW_PASSWORD: Final = "another good passphrase"
ENDED: Final = frozenset({"session.ended", "token.ended"})


class Member:
    """The account `ada`, and what the tests ask about it.

    Attributes:
        here: the session that requests are made from.
        elsewhere: another session of the same user.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.hasher = PlainHasher()
        self.ada = a_user(username="ada", email="ada@example.com")
        self.here = a_session(self.ada, self.clock())
        self.elsewhere = a_session(self.ada, self.clock())
        self.token = a_token(self.ada, self.clock())

    async def create(self) -> Member:
        """Store the account, its password, its sessions and its API token."""
        await keep(self.store, self.ada)
        await self.set_hash(f"hash of {PASSWORD}")
        await keep_session(self.store, self.here, self.elsewhere)
        await keep_token(self.store, self.token)
        return self

    async def set_hash(self, password_hash: str) -> None:
        await self.store.write(lambda transaction: transaction.users.set_password(self.ada.id, password_hash), BY)

    async def set_password(self, password: str) -> None:
        await self.set_hash(f"hash of {password}")

    async def set_factor(self, factor: SecondFactor) -> None:
        await self.store.write(lambda transaction: transaction.second_factors.save(self.ada.id, factor), BY)

    async def mail_token(self, purpose: Purpose, ttl: timedelta = timedelta(hours=1), email: str = "") -> MailTokenRef:
        """A token that was mailed to an address of the account for a purpose, as the client presents it."""
        expires_at = self.clock() + ttl
        text, digest = new_token(self.ada.id, expires_at)
        token = MailToken(self.ada.id, purpose, email or self.ada.email, expires_at, (digest,))
        await self.store.write(lambda transaction: transaction.mail_tokens.save(token), BY)
        presented = parse_token(text)
        assert presented is not None
        return presented

    async def credentials(self) -> Credentials:
        found = await self.store.users.find_by_login("ada")
        assert found is not None
        return found

    async def password_hash(self) -> str | None:
        return (await self.credentials()).password_hash

    async def sessions(self) -> set[uuid.UUID]:
        return {session.id for session in await self.store.sessions.list_of_user(self.ada.id)}

    async def tokens(self) -> set[uuid.UUID]:
        return {token.id for token in await self.store.api_tokens.list_of_user(self.ada.id)}

    async def ends(self) -> list[Event]:
        """Events about sessions and API tokens that ended."""
        return await whole_log(self.store, types=ENDED)

    async def mails(self) -> list[tuple[str, str]]:
        """Kind and address of each mail that waits, in order of its kind."""
        waiting = await self.store.mails.list_due(self.clock() + timedelta(days=400), 100)
        return sorted((mail.kind, mail.email) for mail in waiting)

    async def audited(self) -> list[str]:
        """Actions of the audit, the oldest first."""
        entries = await self.store.audit.list_page(AuditQuery(limit=100))
        return [entry.action for entry in reversed(entries)]
