"""Logging in, staying in and leaving. Each function is one use case."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import uuid_utils.compat

from service.domain.audit import AuditSource
from service.domain.auth.login_throttle import LoginThrottle, run_throttled
from service.domain.auth.mfa import consume_code
from service.domain.auth.revocation import revoke_session, revoke_sessions
from service.domain.auth.sessions import (
    MOST_SESSIONS,
    UNKNOWN,
    Origin,
    RefreshTokenState,
    Session,
    classify_refresh_token,
    rotated,
)
from service.domain.errors import (
    DomainError,
    InvalidCredentials,
    InvalidGrant,
    InvalidOtp,
    NotFound,
    OtpRequired,
    RefreshTokenReused,
    TooMany,
    Unavailable,
)
from service.domain.ports import Clock, Hasher, Store, Transaction
from service.domain.users.accounts import Caller
from service.domain.users.user import Credentials, User


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A session and whose it is."""

    session: Session
    user: User


class _Replaced(Exception):
    """The hash that a password was checked against is not the account's any more."""


# Concurrent logins may each compute a new hash. One of them is stored; the others read the account again.
_MOST_LOOKS: Final = 3


@dataclass(frozen=True, slots=True)
class LoginCommand:
    """The request of a client to log in.

    Attributes:
        login: an e-mail address or username, normalised as the store looks it up.
        otp: code of the second factor; ignored if the account has none.
    """

    login: str
    password: str = field(repr=False)
    otp: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LoginSource:
    """Where a login comes from.

    Attributes:
        client: IP address, for the throttle.
        origin: what the session stores of the client.
        audit: what the audit stores of the request.
    """

    client: str
    origin: Origin
    audit: AuditSource


def _ignore(_: DomainError | None = None) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """The use case of logging in, with what it needs.

    Attributes:
        ttl: how long a session lasts, however often it is refreshed.
        idle: how long a session lasts without a refresh; None: as long as `ttl`.
        count: called with the result of each login: None for success, or one of `InvalidCredentials`, `OtpRequired`,
            `TooMany` and `Unavailable`. Other errors are not reported.
        wake_mail: called after a login with a code: a recovery code queues a mail to the owner.
    """

    store: Store
    hasher: Hasher
    clock: Clock
    throttle: LoginThrottle
    ttl: timedelta
    idle: timedelta | None = None
    count: Callable[[DomainError | None], None] = _ignore
    wake_mail: Callable[[], None] = _ignore

    async def log_in(self, command: LoginCommand, source: LoginSource) -> LoggedIn:
        """Open a session for an e-mail address or username and its password. An outdated hash is replaced.

        Raises `InvalidCredentials`, the same and after the same time whether the login is unknown, has no password, is
        inactive or the password is wrong. Also raises it if another password was set during the check: a login that began
        before a change of the password must not survive it. Only if the password is right, raises `OtpRequired` or
        `InvalidOtp`. Raises `TooManyFailures` before any check if the account or the network has to wait.

        Run it in a task that outlives the client's connection: a guess counts even if the client disconnects.
        """
        try:
            found = await self.store.users.find_by_login(command.login)
            # Whichever of its names the client sends, it is one account.
            account = command.login if found is None else found.user.id
            logged_in = await run_throttled(
                self.throttle, account, source.client, lambda: self._open_session(command, source, found)
            )
        except (InvalidCredentials, OtpRequired, TooMany, Unavailable) as error:
            self.count(error)
            raise
        self.count(None)
        return logged_in

    async def _open_session(self, command: LoginCommand, source: LoginSource, found: Credentials | None) -> LoggedIn:
        for _ in range(_MOST_LOOKS):
            credentials = await _prove(self.hasher, found, command.password)
            renewed = await _renewed(self.hasher, credentials.password_hash, command.password)
            session = _opened(credentials.user, self.clock(), self.ttl, self.idle, source.origin)
            try:
                user = await _keep(
                    self.store, self.clock, source.audit, session, credentials.password_hash, renewed, command.otp
                )
            except _Replaced:
                found = await self.store.users.find_by_login(command.login)
                continue
            if command.otp is not None:
                self.wake_mail()
            return LoggedIn(session, user)
        raise InvalidCredentials()


async def _prove(hasher: Hasher, found: Credentials | None, password: str) -> Credentials:
    if not await hasher.verify(found.password_hash if found else None, password) or found is None:
        raise InvalidCredentials()
    return found


def _opened(user: User, now: datetime, ttl: timedelta, idle: timedelta | None, origin: Origin) -> Session:
    return Session(
        id=uuid_utils.compat.uuid7(),
        user_id=user.id,
        secret=secrets.token_bytes(32),
        created_at=now,
        expires_at=now + (ttl if idle is None else min(idle, ttl)),
        rotated_at=now,
        absolute_expires_at=now + ttl,
        origin=origin,
    )


async def _keep(
    store: Store,
    clock: Clock,
    by: AuditSource,
    session: Session,
    checked: str | None,
    renewed: str | None,
    otp: str | None,
) -> User:
    """Store a session whose password was `checked` against a hash outside of the transaction, and the new hash if there is one."""

    async def work(transaction: Transaction) -> User:
        # The account may have gone meanwhile.
        found = await transaction.users.find_credentials(session.user_id)
        if found is None or not found.user.active:
            raise InvalidCredentials()
        if found.password_hash != checked:
            raise _Replaced()
        # In the transaction that opens the session: of two who bring one code at once, one gets in.
        if found.asks_otp and otp is None:
            raise OtpRequired()
        if found.asks_otp and otp is not None and not await consume_code(transaction, clock, found, otp):
            raise InvalidOtp()
        if renewed is not None:
            await transaction.users.set_password(found.user.id, renewed)
        await _make_room(transaction, clock, found.user)
        await transaction.sessions.save(session)
        await transaction.audit.record("session.started", found.user.id, found.user.id, {"session_id": str(session.id)})
        return found.user

    return (await store.write(work, by)).value


async def _renewed(hasher: Hasher, password_hash: str | None, password: str) -> str | None:
    """The hash of a password that is known for a moment, as it is made now; None where the one that is kept will do."""
    if password_hash is None or not hasher.is_outdated(password_hash):
        return None
    try:
        return await hasher.hash(password)
    except (Unavailable, TooMany):  # the next login will do it
        return None


async def _make_room(transaction: Transaction, clock: Clock, user: User) -> None:
    """End the oldest sessions of a user who has as many as one may have."""
    newest_first = sorted(
        await transaction.sessions.list_of_user(user.id), key=lambda session: session.created_at, reverse=True
    )
    for session in newest_first[MOST_SESSIONS - 1 :]:
        await revoke_session(transaction, clock, None, session, "limit")


async def refresh(
    store: Store,
    clock: Clock,
    by: AuditSource,
    session_id: UUID,
    generation: int,
    authentic: Callable[[Session], bool],
    *,
    idle: timedelta | None = None,
    origin: Origin = UNKNOWN,
) -> LoggedIn:
    """Hand out the next refresh token of a session: the session returned carries its generation.

    `authentic` tells whether the caller's token was made with the session's secret. A token that has been used up ends
    the session, and that is committed although the answer is `RefreshTokenReused`: a rollback would undo the very thing
    that the reuse calls for. Raises `InvalidGrant` for any other that renews nothing.
    """

    async def work(transaction: Transaction) -> LoggedIn | RefreshTokenReused | None:
        now = clock()
        session = await transaction.sessions.find(session_id)
        if session is None or session.expires_at <= now or not authentic(session):
            return None
        user = await transaction.users.find(session.user_id)
        if user is None:
            return None
        match classify_refresh_token(session, generation, now):
            case RefreshTokenState.NEWEST:
                session = rotated(session, now, idle, origin)
                await transaction.sessions.save(session)
            case RefreshTokenState.REUSED:
                await revoke_session(transaction, clock, None, session, "reuse")
                return RefreshTokenReused(session.id, user.id)
            case RefreshTokenState.PREDECESSOR:
                pass
        return LoggedIn(session, user)

    renewed = (await store.write(work, by)).value
    if renewed is None:
        raise InvalidGrant()
    if isinstance(renewed, RefreshTokenReused):
        raise renewed
    return renewed


async def log_out(store: Store, clock: Clock, by: AuditSource, user_id: UUID, session_id: UUID) -> None:
    """End one session; harmless when it has ended already."""

    async def work(transaction: Transaction) -> None:
        session = await transaction.sessions.find(session_id)
        if session is not None:
            await revoke_session(transaction, clock, user_id, session, "logout")

    await store.write(work, by)


async def revoke(store: Store, clock: Clock, by: AuditSource, caller: Caller, session_id: UUID) -> None:
    """Revoke a session from another one: a user its own sessions, an administrator any session.

    Raises `NotFound` for any other, and for one that has ended.
    """

    async def work(transaction: Transaction) -> None:
        session = await transaction.sessions.find(session_id)
        if session is None or session.expires_at <= clock() or not caller.can_view(session.user_id):
            raise NotFound()
        await revoke_session(transaction, clock, caller.id, session, "revoked")

    await store.write(work, by)


async def end_others(store: Store, clock: Clock, by: AuditSource, user_id: UUID, session_id: UUID) -> None:
    """End every session of a user but this one."""

    async def work(transaction: Transaction) -> None:
        await revoke_sessions(transaction, clock, user_id, user_id, "revoked", but=session_id)

    await store.write(work, by)
