"""One write of the memory store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from datetime import datetime
from uuid import UUID

from service.domain.audit import AuditSource
from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Session
from service.domain.errors import AlreadyExists, InvalidToken
from service.domain.idempotency.claims import Claim, IdempotencyStore, StoredResponse
from service.domain.ports import Render
from service.domain.users.user import Credentials, User
from service.store.memory.log import MemoryLog
from service.store.memory.mail import MemoryMail
from service.store.memory.second_factors import MemorySecondFactors
from service.store.memory.tables import Tables
from service.store.recording import Recording


class MemoryTransaction(Recording, MemoryMail, MemorySecondFactors):
    """Changes the tables at once and remembers how to take each step back."""

    def __init__(
        self, tables: Tables, log: MemoryLog, answers: IdempotencyStore[StoredResponse], by: AuditSource
    ) -> None:
        super().__init__()
        self.by = by
        self.claimed: tuple[Claim, Render] | None = None
        self.holds: dict[UUID, datetime] = {}
        self._tables = tables
        self._log = log
        self._answers = answers
        self._undo: list[Callable[[], object]] = []

    def undo(self) -> None:
        while self._undo:
            self._undo.pop()()

    async def user(self, user_id: UUID) -> User | None:
        return self._tables.users.get(user_id.int)

    async def credentials(self, user_id: UUID) -> Credentials | None:
        return self._tables.credentials(user_id)

    async def find_by_identity(
        self, ids: Collection[UUID], usernames: Collection[str], emails: Collection[str]
    ) -> Sequence[Credentials]:
        tables = self._tables
        found = {user_id for user_id in ids if user_id.int in tables.users}
        found.update(tables.by_username[name] for name in usernames if name in tables.by_username)
        found.update(tables.by_email[address] for address in emails if address in tables.by_email)
        return [credentials for user_id in found if (credentials := tables.credentials(user_id)) is not None]

    async def deleted_ids(self, ids: Collection[UUID]) -> Set[UUID]:
        return self._log.deleted(ids)

    async def active_admins(self) -> int:
        return self._tables.active_admins

    async def session(self, session_id: UUID) -> Session | None:
        return self._tables.sessions.get(session_id)

    async def sessions_of(self, user_id: UUID) -> Sequence[Session]:
        return self._tables.sessions.of(user_id)

    async def put_user(self, user: User) -> None:
        tables = self._tables
        taken = [
            column
            for column, index in (("username", tables.by_username), ("email", tables.by_email))
            if index.get(getattr(user, column), user.id) != user.id
        ]
        if taken:
            raise AlreadyExists(*taken)
        await self._drop_user(user.id)
        tables.set_user(user)
        self._undo.append(lambda: tables.drop_user(user.id))

    async def put_users(self, users: Sequence[User]) -> None:
        for user in users:
            await self.put_user(user)

    async def put_password(self, user_id: UUID, password_hash: str) -> None:
        passwords = self._tables.passwords
        before = passwords.get(user_id)
        passwords[user_id] = password_hash
        self._undo.append(lambda: passwords.pop(user_id) if before is None else passwords.update({user_id: before}))

    async def put_passwords(self, hashes: Mapping[UUID, str]) -> None:
        for user_id, password_hash in hashes.items():
            await self.put_password(user_id, password_hash)

    async def delete_user(self, user_id: UUID) -> None:
        passwords = self._tables.passwords
        before = passwords.pop(user_id, None)
        if before is not None:
            self._undo.append(lambda: passwords.update({user_id: before}))
        await self.forget_mail_tokens(user_id)
        await self.put_second_factor(user_id, None)
        await self._drop_user(user_id)

    async def _drop_user(self, user_id: UUID) -> None:
        before = self._tables.drop_user(user_id)
        if before is not None:
            self._undo.append(lambda: self._tables.set_user(before))

    async def put_session(self, session: Session) -> None:
        sessions = self._tables.sessions
        before = sessions.get(session.id)
        sessions.put(session)
        self._undo.append(lambda: sessions.put(before) if before else sessions.drop(session.id))
        if before is None:
            self._forget_expired(session.created_at)

    def _forget_expired(self, now: datetime) -> None:
        # All sessions live equally long from their last refresh, so the first valid one ends the search. A session
        # that reached its absolute lifetime earlier is removed that much later.
        expired = []
        for session in self._tables.sessions:
            if session.expires_at > now:
                break
            expired.append(session.id)
        for session_id in expired:
            self._tables.sessions.drop(session_id)

    async def delete_session(self, session_id: UUID) -> None:
        before = self._tables.sessions.drop(session_id)
        if before is not None:
            self._undo.append(lambda: self._tables.sessions.put(before))

    async def token(self, token_id: UUID) -> ApiToken | None:
        return self._tables.tokens.get(token_id)

    async def tokens_of(self, user_id: UUID) -> Sequence[ApiToken]:
        return self._tables.tokens.of(user_id)

    async def put_token(self, token: ApiToken) -> None:
        tables = self._tables
        # Each has an end of its own: they are few, and seldom made.
        for expired in [kept.id for kept in tables.tokens if not kept.lives(token.created_at)]:
            tables.drop_token(expired)
        tables.set_token(token)
        self._undo.append(lambda: tables.drop_token(token.id))

    async def delete_token(self, token_id: UUID) -> None:
        before = self._tables.drop_token(token_id)
        if before is not None:
            self._undo.append(lambda: self._tables.set_token(before))

    async def claim(self, claim: Claim, render: Render) -> StoredResponse | None:
        if claim.user_id.int not in self._tables.users:
            raise InvalidToken()
        answer = self._answers.find(claim)
        if answer is None:
            self.claimed = claim, render
        return answer

    async def retain_events(self, hold: UUID, until: datetime) -> None:
        self.holds[hold] = until
