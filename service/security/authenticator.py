"""Authentication: from the credentials of a request to a principal, which is cached until it may have changed."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from service.domain.auth import scopes
from service.domain.auth.api_token import ApiToken
from service.domain.auth.scopes import Scopes
from service.domain.auth.sessions import Session
from service.domain.errors import InvalidToken, Unauthenticated
from service.domain.events.event import Event
from service.domain.ports import Clock, Store
from service.domain.users.accounts import Caller
from service.domain.users.user import User
from service.security import api_token_secret, session_secrets
from service.security.access_tokens import AccessTokens, Claims, UnknownKey
from service.security.stream_cookies import StreamCookie, cookie_name, generate_ticket, select_stream_cookies

TICKET_TTL: Final = timedelta(seconds=30)

_MOST_REMEMBERED: Final = 50_000
_MOST_COOKIES_CHECKED: Final = 20  # of one request for a ticket; each is a look at the store


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose credentials were checked.

    Attributes:
        caller: as the rules know it.
        user: its id as text, for logs and limits.
        session_id: of the session, or of the API token itself.
        scopes: what they may be used for, of what the user may.
        expires_at: seconds since 1970 at which these credentials end by themselves; infinite for an API token that does not.
        renewable: whether they are an access token, which a client renews; a cookie or ticket lasts with its session.
        token: the API token that they are; None for those of a session.
    """

    caller: Caller
    user: str
    username: str
    session_id: UUID
    expires_at: float
    scopes: Scopes = frozenset()
    renewable: bool = True
    token: ApiToken | None = None


class Authenticator:
    """Checks credentials against the store at first sight and remembers access tokens by their exact text.

    What is remembered is dropped by `invalidate` as soon as the log says that its user's rights or sessions changed, and
    is compared with the clock at every use. No list of what has ended is kept: a token whose session is not there any more
    is refused at first sight, in every process and after every restart.

    Args:
        is_current: whether `invalidate` is called in time; while it is not, the store is asked at every use.
        on_use: called with the id of an API token at each use; waits for nothing.
    """

    def __init__(
        self,
        store: Store,
        tokens: AccessTokens,
        clock: Clock,
        is_current: Callable[[], bool] = lambda: True,
        on_use: Callable[[UUID], None] = lambda _: None,
    ) -> None:
        self._is_current = is_current
        self._on_use = on_use
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._remembered: dict[str, Principal] = {}
        self._tokens_of: dict[UUID, set[str]] = {}
        self._endings = 0

    def cached(self, authorization: str) -> Principal | None:
        """The principal of an `Authorization` header that was checked before and has not ended.

        None asks for `bearer`. The whole header is the key: nothing has to be cut out of it.
        """
        principal = self._remembered.get(authorization)
        if principal is None or principal.expires_at <= time.time():
            return None
        if principal.token is not None:
            self._on_use(principal.token.id)
        return principal

    async def bearer(self, token: str) -> Principal:
        """Check an access token or an API token; raises `InvalidToken`."""
        authorization = f"Bearer {token}"
        principal = self.cached(authorization)
        if principal is not None:
            return principal
        endings = self._endings
        check = self._api_token if token.startswith(api_token_secret.BEGINNING) else self._access_token
        principal = await check(token)
        # If an event revoked access while the store was asked, the result may be older than it: do not cache it.
        if endings == self._endings and self._is_current():
            self._remember(authorization, principal)
        return principal

    async def _access_token(self, text: str) -> Principal:
        claims = await self._claims(text)
        session, user = await self._live(claims.session_id)
        if user.id != claims.user_id:
            raise InvalidToken()
        expires_at = min(claims.expires_at, session.expires_at.timestamp())
        return _principal(session, user, expires_at, scopes.read(claims.scope, user.role), renewable=True)

    async def _api_token(self, text: str) -> Principal:
        digest = api_token_secret.checked_digest(text)
        if digest is None:
            raise InvalidToken()
        token, user = await self._living(digest)
        self._on_use(token.id)
        return Principal(
            Caller(user.id, user.role),
            str(user.id),
            user.username,
            token.id,
            math.inf if token.expires_at is None else token.expires_at.timestamp(),
            scopes.read(scopes.written(token.scopes), user.role),
            renewable=False,
            token=token,
        )

    async def revalidate(self, principal: Principal) -> bool:
        """Look once more: whether its rights are still the same; raises `InvalidToken`.

        For a stream, after it was registered: this closes the race with a revocation between authentication and
        registration. Also for a request whose body took time to arrive.
        """
        token = principal.token
        _, user = await (self._live(principal.session_id) if token is None else self._living(token.digest))
        return user.role == principal.caller.role

    async def cookie(self, name: str, text: str) -> Principal:
        """Check a stream cookie of that name; raises `InvalidToken`, also for the cookie of another session."""
        grant = session_secrets.parse(text)
        if grant is None or cookie_name(grant.session_id) != name:
            raise InvalidToken()
        session, user = await self._live(grant.session_id)
        if not grant.authentic("stream", session):
            raise InvalidToken()
        return _lasting(session, user)

    async def make_ticket(self, session_id: UUID) -> tuple[str, StreamCookie]:
        """A ticket that opens one stream within `TICKET_TTL`, and the cookie with which a browser reconnects."""
        session, _ = await self._live(session_id)
        ticket = generate_ticket(session_id)
        now = self._clock()
        await self._store.tickets.create(_digest(ticket), session_id, now + TICKET_TTL)
        # A refresh extends the session up to `absolute_expires_at`, and does not send this cookie again.
        left = (session.absolute_expires_at or session.expires_at) - now
        return ticket, StreamCookie(
            cookie_name(session_id), session_secrets.issue(session, "stream"), math.ceil(left.total_seconds())
        )

    async def find_ended_cookies(self, cookies: Mapping[str, str]) -> list[str]:
        """The names of those stream cookies of a request whose session has ended, or that no session made.

        At most 20 are checked at once.
        """
        ended: list[str] = []
        for name in select_stream_cookies(cookies)[:_MOST_COOKIES_CHECKED]:
            try:
                await self.cookie(name, cookies[name])
            except InvalidToken:
                ended.append(name)
        return ended

    async def ticket(self, text: str) -> Principal:
        """Use up a ticket; raises `Unauthenticated`."""
        session_id = await self._store.tickets.consume(_digest(text), self._clock())
        if session_id is None:
            raise Unauthenticated(
                "The ticket is unknown, used or older than 30 seconds; POST /v1/auth/ticket gives one."
            )
        session, user = await self._live(session_id)
        return _lasting(session, user)

    def invalidate(self, events: Iterable[Event]) -> None:
        """Forget what these events may have changed."""
        for event in events:
            # A principal also carries the username, which rooms show to others.
            if event.ends_access or "username" in event.changed:
                self._endings += 1
                for token in self._tokens_of.pop(event.subject, ()):
                    self._remembered.pop(token, None)

    def clear_cache(self) -> None:
        """Clear the cache: revocations may have been missed."""
        self._endings += 1
        self._remembered.clear()
        self._tokens_of.clear()

    async def _claims(self, token: str) -> Claims:
        """The claims of a token; for an unknown key, the keys are read again first."""
        try:
            return self._tokens.verify(token)
        except UnknownKey as error:
            if error.kid is None or not await self._tokens.keys.find(error.kid):
                raise
        return self._tokens.verify(token)

    async def _live(self, session_id: UUID) -> tuple[Session, User]:
        found = await self._store.sessions.find_with_user(session_id)
        if found is None or not found[1].active:
            raise InvalidToken()
        return found

    async def _living(self, digest: bytes) -> tuple[ApiToken, User]:
        found = await self._store.api_tokens.find_with_user(digest)
        if found is None or not found[1].active:
            raise InvalidToken()
        return found

    def _remember(self, authorization: str, principal: Principal) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._forget_oldest()
        self._remembered[authorization] = principal
        self._tokens_of.setdefault(principal.caller.id, set()).add(authorization)

    def _forget_oldest(self) -> None:
        token, principal = next(iter(self._remembered.items()))
        del self._remembered[token]
        of_user = self._tokens_of[principal.caller.id]
        of_user.discard(token)
        if not of_user:
            del self._tokens_of[principal.caller.id]


def _lasting(session: Session, user: User) -> Principal:
    """The principal of a cookie or ticket, which only a login gets."""
    return _principal(session, user, session.expires_at.timestamp(), scopes.of(user.role), renewable=False)


def _principal(session: Session, user: User, expires_at: float, granted: Scopes, *, renewable: bool) -> Principal:
    caller = Caller(user.id, user.role)
    return Principal(caller, str(user.id), user.username, session.id, expires_at, granted, renewable)


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
