"""One write, inside the transaction that it shares with others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime
from uuid import UUID

from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Session
from service.domain.errors import AlreadyExists, InvalidToken, ResponseExpired
from service.domain.idempotency.claims import Claim, StoredResponse
from service.domain.ports import Render
from service.domain.users.user import Credentials, User
from service.store.recording import Recording
from service.store.sql import rows, statements
from service.store.sql.mail import SqlMail
from service.store.sql.runner import StatementRunner
from service.store.sql.second_factors import SqlSecondFactors


class NeedsPredecessor(Exception):
    """This write depends on an earlier one of the same transaction, whose seqs are not known yet."""


class Duplicate(Exception):
    """A name of this user was taken. Whether the other one is, too, can only be asked once this write has been undone."""

    def __init__(self, user: User, field: str) -> None:
        super().__init__()
        self.user = user
        self.field = field


class SqlTransaction(Recording, SqlMail, SqlSecondFactors):
    """The view of one write: its own changes, and those of earlier writes of the batch with their versions.

    Args:
        changed: users that works before it in the same transaction have changed.
    """

    def __init__(self, connection: StatementRunner, changed: Set[UUID]) -> None:
        super().__init__()
        self.claimed: tuple[Claim, Render] | None = None
        self.connection = connection
        self._dialect = connection.dialect
        self._changed = changed

    async def user(self, user_id: UUID) -> User | None:
        found = await self._user(user_id)
        return None if found is None else found.user

    async def credentials(self, user_id: UUID) -> Credentials | None:
        return await self._user(user_id)

    async def _user(self, user_id: UUID) -> Credentials | None:
        if user_id in self._changed:
            raise NeedsPredecessor()
        found = await self.connection.rows(statements.USER_BY_ID, id=user_id)
        return rows.credentials_of(found[0], self._dialect) if found else None

    async def find_by_identity(
        self, ids: Collection[UUID], usernames: Collection[str], emails: Collection[str]
    ) -> Sequence[Credentials]:
        found = await self.connection.rows(
            statements.HOLDERS, ids=list(ids), usernames=list(usernames), emails=list(emails)
        )
        find_by_identity = [rows.credentials_of(row, self._dialect) for row in found]
        if any(holder.user.id in self._changed for holder in find_by_identity):
            raise NeedsPredecessor()
        return find_by_identity

    async def deleted_ids(self, ids: Collection[UUID]) -> Set[UUID]:
        if not self._changed.isdisjoint(ids):
            raise NeedsPredecessor()
        found = await self.connection.rows(statements.DELETED_IDS, ids=list(ids))
        return {self._dialect.identity(row[0]) for row in found}

    async def active_admins(self) -> int:
        return len(await self.connection.rows(statements.ACTIVE_ADMINS))

    async def session(self, session_id: UUID) -> Session | None:
        found = await self.connection.rows(statements.SESSION_BY_ID, id=session_id)
        return rows.session_of(found[0], self._dialect) if found else None

    async def sessions_of(self, user_id: UUID) -> Sequence[Session]:
        found = await self.connection.rows(statements.SESSIONS_OF, user=user_id)
        return [rows.session_of(row, self._dialect) for row in found]

    async def put_user(self, user: User) -> None:
        if self.connection.looks_first:
            await refuse_taken(self.connection, user)
        try:
            await self.connection.run(statements.PUT_USER, **rows.of_user(user))
        except Exception as error:
            field = self.connection.taken_field(error)
            if field is None:
                raise
            raise Duplicate(user, field) from None

    async def put_users(self, users: Sequence[User]) -> None:
        await self.connection.run_many(statements.PUT_USER, [rows.of_user(user) for user in users])

    async def put_password(self, user_id: UUID, password_hash: str) -> None:
        await self.connection.run(statements.PUT_PASSWORD, user=user_id, hash=password_hash)

    async def put_passwords(self, hashes: Mapping[UUID, str]) -> None:
        given = [{"user": user_id, "hash": password_hash} for user_id, password_hash in hashes.items()]
        await self.connection.run_many(statements.PUT_PASSWORD, given)

    async def delete_user(self, user_id: UUID) -> None:
        await self.connection.run(statements.DELETE_USER, id=user_id)

    async def put_session(self, session: Session) -> None:
        if session.generation == 1:
            await self.connection.run(statements.FORGET_SESSIONS, now=session.created_at)
        await self.connection.run(statements.PUT_SESSION, **rows.of_session(session))

    async def delete_session(self, session_id: UUID) -> None:
        await self.connection.run(statements.DELETE_SESSION, id=session_id)

    async def token(self, token_id: UUID) -> ApiToken | None:
        found = await self.connection.rows(statements.TOKEN_BY_ID, id=token_id)
        return rows.token_of(found[0], self._dialect) if found else None

    async def tokens_of(self, user_id: UUID) -> Sequence[ApiToken]:
        found = await self.connection.rows(statements.TOKENS_OF, user=user_id)
        return [rows.token_of(row, self._dialect) for row in found]

    async def put_token(self, token: ApiToken) -> None:
        await self.connection.run(statements.FORGET_TOKENS, now=token.created_at)
        await self.connection.run(statements.PUT_TOKEN, **rows.of_token(token))

    async def delete_token(self, token_id: UUID) -> None:
        await self.connection.run(statements.DELETE_TOKEN, id=token_id)

    async def claim(self, claim: Claim, render: Render) -> StoredResponse | None:
        of_claim = {"user_id": claim.user_id, "route": claim.route, "key": claim.key}
        if await self.connection.rows(
            statements.CLAIM, **of_claim, fingerprint=claim.fingerprint, expires_at=claim.expires_at, now=claim.now
        ):
            self.claimed = claim, render
            return None
        found = await self.connection.rows(statements.ANSWER, **of_claim)
        if not found:
            raise InvalidToken()
        fingerprint, status, _, body, _ = found[0]
        claim.check(bytes(fingerprint))
        if status is None:
            raise NeedsPredecessor()
        if body is None:
            raise ResponseExpired()
        return rows.answer_of(found[0][1:], self._dialect)

    async def retain_events(self, hold: UUID, until: datetime) -> None:
        await self.connection.run(statements.HOLD, hold=hold, until=until)


async def refuse_taken(connection: StatementRunner, user: User) -> None:
    """Raises `AlreadyExists` where others have a name of this user."""
    others = await connection.rows(statements.WITH_NAMES, username=user.username, email=user.email, id=user.id)
    if others:
        fields = {"username": user.username, "email": user.email}
        taken = [name for place, name in enumerate(fields) if any(other[place] == fields[name] for other in others)]
        raise AlreadyExists(*taken)
