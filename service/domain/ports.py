"""The ports of the domain: the protocols that stores, mailers and hashers implement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from service.domain.audit import AuditEntry, AuditQuery, AuditSource, Details, Recorded
from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Session
from service.domain.auth.signing_key import SigningKey
from service.domain.auth.totp import SecondFactor
from service.domain.events.event import Event
from service.domain.events.position import Position
from service.domain.events.query import EventPage, EventQuery
from service.domain.idempotency.claims import Claim, StoredResponse
from service.domain.mail.mail import (
    Mail,
    MailKind,
    MailToken,
    MailTokenRef,
    Purpose,
)
from service.domain.mail.templates import RenderedEmail
from service.domain.users.query import UserQuery
from service.domain.users.user import Credentials, User

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Clock = Callable[[], datetime]
"""Now, in UTC."""


class Snapshot(NamedTuple, Generic[T]):
    """A value and the position at which it is true: both were read at once."""

    value: T
    position: Position


@dataclass(frozen=True, slots=True)
class Written(Generic[T_co]):
    """The result of a committed write, and the position after it.

    Attributes:
        value: what the work returned.
        events: what it appended, in order, with their seqs; empty when it changed nothing.
        position: at or after the last of them.
    """

    value: T_co
    events: tuple[Event, ...]
    position: Position


Render = Callable[[Written[Any]], StoredResponse]
"""Renders the response to a write. It must depend on nothing else and change nothing; it may run in any thread."""


class Transaction(Protocol):
    """One write: what is read is what will be changed, and all of it commits with its events or none does."""

    async def user(self, user_id: UUID) -> User | None: ...

    async def credentials(self, user_id: UUID) -> Credentials | None: ...

    async def find_by_identity(
        self, ids: Collection[UUID], usernames: Collection[str], emails: Collection[str]
    ) -> Sequence[Credentials]:
        """Everybody who has one of these ids, usernames or addresses, in no order; asked at once, however many they are."""

    async def deleted_ids(self, ids: Collection[UUID]) -> Set[UUID]:
        """Which of these ids belonged to a user whose deletion the log still holds, and so perhaps events before it."""

    async def active_admins(self) -> int: ...

    async def session(self, session_id: UUID) -> Session | None: ...

    async def sessions_of(self, user_id: UUID) -> Sequence[Session]:
        """A user's sessions, the oldest first."""

    async def put_user(self, user: User) -> None:
        """Insert or replace; raises `AlreadyExists` when another has its username or e-mail address."""

    async def put_users(self, users: Sequence[User]) -> None:
        """Insert or replace all of them in order, in few statements. Each user stands once, and `find_by_identity` has shown that
        no other user has their names."""

    async def put_password(self, user_id: UUID, password_hash: str) -> None: ...

    async def put_passwords(self, hashes: Mapping[UUID, str]) -> None:
        """The same for many, by the id of the user."""

    async def delete_user(self, user_id: UUID) -> None:
        """Remove the user with its password; its earlier events keep no copy of it."""

    async def put_session(self, session: Session) -> None: ...

    async def delete_session(self, session_id: UUID) -> None: ...

    async def token(self, token_id: UUID) -> ApiToken | None: ...

    async def tokens_of(self, user_id: UUID) -> Sequence[ApiToken]:
        """A user's API tokens, the oldest first; some may have expired."""

    async def put_token(self, token: ApiToken) -> None:
        """Keep a new one; those that have expired by then are forgotten."""

    async def delete_token(self, token_id: UUID) -> None: ...

    async def append(self, event: Event, details: Details | None = None, *, together: bool = False) -> None:
        """Put an event at the end of the log; it gets its seq at the commit, and its user that version.

        The audit has it as well, with these details beside what it says itself; or, of events that are many and alike,
        one entry that counts all that came `together` in this write.
        """

    async def record(
        self,
        action: Recorded,
        actor: UUID | None,
        subject: UUID | None,
        details: Details | None = None,
        by: AuditSource | None = None,
    ) -> None:
        """Have the audit keep what no event tells of. `by`: by whom it was done, where that is not who writes it."""

    async def mail(self, email: str, kind: MailKind) -> Mail | None: ...

    async def put_mail(self, mail: Mail) -> None:
        """Store a mail in the place of one of its kind for its address."""

    async def claim_mail(self, mail: Mail, until: datetime) -> Mail | None:
        """Begin to send a mail, which others then leave alone until that moment; None where it is not as it was read."""

    async def drop_mail(self, mail: Mail) -> bool:
        """Delete a mail unless it was claimed or replaced since it was read; whether it was deleted."""

    async def mail_token(self, user_id: UUID, purpose: Purpose) -> MailToken | None: ...

    async def put_mail_token(self, token: MailToken) -> None:
        """Store them in the place of those that their user, who is there, has for this purpose."""

    async def take_mail_token(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        """The tokens of which this is one, expired or not; taking them uses all of them up, also where others take them at once."""

    async def mail_token_to(self, email: str, purpose: Purpose) -> MailToken | None:
        """The tokens for which the next mail to an address is: of a user who was mailed none yet, the first to ask; else the
        newest. So a user who asks again and again does not keep the mails from another user of the same address."""

    async def forget_mail_tokens(self, user_id: UUID, purpose: Purpose | None = None) -> None:
        """Let nothing that was mailed to a user, or nothing for one purpose, be worth anything."""

    async def put_second_factor(self, user_id: UUID, factor: SecondFactor | None) -> None:
        """Replace that of a user who is there; None removes it, with its recovery codes."""

    async def consume_totp_step(self, user_id: UUID, step: int) -> bool:
        """Whether this step is newer than every one that was taken from this user; then it is the newest itself."""

    async def put_recovery_codes(self, user_id: UUID, digests: Collection[bytes]) -> None:
        """Let these, and no others, be the recovery codes of a user who is there."""

    async def take_recovery_code(self, user_id: UUID, digest: bytes) -> bool:
        """Whether the user has this code; it is consumed atomically."""

    async def retain_events(self, hold: UUID, until: datetime) -> None:
        """Retain events after the present head, whatever their number, until then.

        Said again with the same name it only moves the end. Every process that trims the log heeds it.
        """

    async def claim(self, claim: Claim, render: Render) -> StoredResponse | None:
        """The stored response to the write with this key; None for a new key, and then the result of `render` is stored.

        At most once a write. Raises `IdempotencyKeyReused`, `ResponseExpired`, and `InvalidToken` when there is no such user any more.
        """


class Writes(Protocol):
    """The part of a store that use cases need which only write."""

    async def write(self, work: Callable[[Transaction], Awaitable[T]], by: AuditSource) -> Written[T]:
        """Run `work` and commit what it did; if it raises, nothing happened and the exception passes through.

        The audit entry names `by` as its source.
        """


class Store(Writes, Protocol):
    """Users, sessions and the log of what happened to them.

    Reads may be cancelled at any point. A `write` that was begun is carried out whole or not at all; the caller
    runs it shielded, so that a client that goes away does not leave the question open.
    """

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def healthy(self) -> bool:
        """Whether reads and writes can be expected to work now; answers within a second."""

    async def secret(self, name: str) -> str:
        """Random text of 64 characters that everybody who uses this store shares; made when it is first asked for."""

    async def signing_keys(self) -> Sequence[SigningKey]:
        """The keys of access tokens that are kept here, in the order in which they begin to sign."""

    async def add_signing_key_if_none(self, key: SigningKey) -> None:
        """Add a key unless one exists: the first process creates it."""

    def on_commit(self, tell: Callable[[Sequence[Event]], None]) -> None:
        """Have `tell` called with what each commit made here has appended, before any of its writes returns.

        With nothing where another process has committed. It is only a bell: who follows the log looks by itself too.
        """

    async def position(self) -> Position: ...

    async def start_new_epoch(self, epoch: str) -> None:
        """Begin another life of the log, unless it has left this one already.

        Call it when a higher head was seen in this epoch: an older state was restored, and new events would get seqs
        that readers have seen.
        """

    async def user(self, user_id: UUID) -> Snapshot[User | None]: ...

    async def users(self, query: UserQuery) -> Snapshot[Sequence[User]]: ...

    def stream_users(self) -> AbstractAsyncContextManager[Snapshot[AsyncIterator[Sequence[User]]]]:
        """All users in pages, as they are at one position whatever is written meanwhile; in no order that means anything.

        Leaving the block early releases the snapshot; cancelling is safe. Raises `Unavailable`, also for each page.
        """

    async def credentials(self, login: str) -> Credentials | None:
        """Find an account by e-mail address or username; `login` is any text."""

    async def session(self, session_id: UUID) -> tuple[Session, User] | None:
        """A session and its user; None once either is gone."""

    async def sessions(self, user_id: UUID) -> Sequence[Session]:
        """A user's sessions that have not expired, the oldest first."""

    async def token(self, digest: bytes) -> tuple[ApiToken, User] | None:
        """An API token and its user; None once either is gone."""

    async def tokens_of(self, user_id: UUID) -> Sequence[ApiToken]:
        """A user's API tokens, the oldest first; some may have expired."""

    async def tokens_used(self, uses: Mapping[UUID, datetime]) -> None:
        """Keep when tokens were last used, by their ids; of several moments the latest."""

    async def events(self, query: EventQuery) -> EventPage: ...

    async def has_role_changed(self, user_id: UUID, after: int) -> bool:
        """Whether an event after that seq changed this user's role; costs the same however many events the user has."""

    async def audit(self, query: AuditQuery) -> Sequence[AuditEntry]:
        """A page of the audit, the newest entry first."""

    async def create_ticket(self, digest: bytes, session_id: UUID, expires_at: datetime) -> None: ...

    async def consume_ticket(self, digest: bytes, now: datetime) -> UUID | None:
        """The session of a ticket that has not expired; the ticket is consumed atomically."""

    async def due_mails(self, now: datetime, limit: int) -> Sequence[Mail]:
        """Mails to be sent, the longest due first."""

    async def mail_token(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        """The token that `take_mail_token` would consume; it stays."""

    async def expired_mail_tokens(self, now: datetime, limit: int) -> Sequence[MailToken]:
        """Tokens that have expired, the oldest first."""

    async def second_factor(self, user_id: UUID) -> tuple[SecondFactor, int] | None:
        """A user's second factor, which may only be begun, and how many recovery codes are left."""


class Mailer(Protocol):
    """Sends rendered mails."""

    @property
    def longest(self) -> timedelta:
        """No call of `send` takes longer."""

    async def send(self, letter: RenderedEmail) -> None:
        """Send it once; when this returns it has been taken. Cancelling is safe: then it may have been, or not.

        Raises `MailRefused` when it will never be taken, `Unavailable` when it may be later.
        """


class Hasher(Protocol):
    """Passwords to hashes and back. Both raise `Unavailable` when too many already wait, `TooMany` when too many of the caller's."""

    async def hash(self, password: str) -> str: ...

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether they match; None takes as long as a real hash and never matches."""

    def is_outdated(self, password_hash: str) -> bool:
        """Whether `hash` would make it in another way by now, as one that was made elsewhere."""
