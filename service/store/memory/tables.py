"""The rows of the memory store, with their indexes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from uuid import UUID

from service.domain.auth.api_token import ApiToken
from service.domain.auth.sessions import Session
from service.domain.auth.totp import SecondFactor
from service.domain.mail.mail import (
    Mail,
    MailKind,
    MailToken,
    MailTokenRef,
    Purpose,
)
from service.domain.users.query import UserQuery
from service.domain.users.user import Credentials, User, sort_key
from service.store.memory.owned_rows import OwnedRows

_Key = tuple[str, UUID]


class Tables:
    """Rows and their indexes. Sessions stand in the order in which they were last refreshed."""

    def __init__(self) -> None:
        # By the integer in the id: a UUID hashes and compares in Python, 0.4 µs a look-up.
        self.users: dict[int, User] = {}
        self.by_username: dict[str, UUID] = {}
        self.by_email: dict[str, UUID] = {}
        self.passwords: dict[UUID, str] = {}
        self.second_factors: dict[UUID, SecondFactor] = {}
        self.recovery_codes: dict[UUID, frozenset[bytes]] = {}
        self.sessions: OwnedRows[Session] = OwnedRows()
        self.api_tokens: OwnedRows[ApiToken] = OwnedRows()
        self.by_digest: dict[bytes, UUID] = {}
        self.mails: dict[tuple[str, MailKind], Mail] = {}
        self.mail_tokens: dict[tuple[UUID, Purpose], MailToken] = {}
        self.active_admins = 0
        self._sorted: dict[str, list[_Key]] = {"created_at": [], "username": []}

    def credentials(self, user_id: UUID) -> Credentials | None:
        user = self.users.get(user_id.int)
        return (
            None if user is None else Credentials(user, self.passwords.get(user_id), self.second_factors.get(user_id))
        )

    def set_user(self, user: User) -> None:
        for column, index in (("username", self.by_username), ("email", self.by_email)):
            index[getattr(user, column)] = user.id
        for column, keys in self._sorted.items():
            insort(keys, (sort_key(user, column), user.id))
        self.active_admins += user.is_active_admin
        self.users[user.id.int] = user

    def drop_user(self, user_id: UUID) -> User | None:
        user = self.users.pop(user_id.int, None)
        if user is not None:
            self.active_admins -= user.is_active_admin
            del self.by_username[user.username], self.by_email[user.email]
            for column, keys in self._sorted.items():
                del keys[bisect_left(keys, (sort_key(user, column), user.id))]
        return user

    def set_token(self, token: ApiToken) -> None:
        self.api_tokens.put(token)
        self.by_digest[token.digest] = token.id

    def drop_token(self, token_id: UUID) -> ApiToken | None:
        token = self.api_tokens.drop(token_id)
        if token is not None:
            del self.by_digest[token.digest]
        return token

    def mail_token(self, purpose: Purpose, presented: MailTokenRef) -> MailToken | None:
        found = self.mail_tokens.get((presented.user_id, purpose))
        return found if found is not None and presented.digest in found.digests else None

    def walk(self, query: UserQuery) -> Iterator[User]:
        """Every user in the order of a query, from where its page begins, as they are now whatever is written meanwhile."""
        keys = self._sorted[query.sort.removeprefix("-")]
        if query.sort.startswith("-"):
            keys = keys[: len(keys) if query.after is None else bisect_left(keys, query.after)][::-1]
        else:
            keys = keys[0 if query.after is None else bisect_right(keys, query.after) :]
        users = self.users.copy()
        return (users[user_id.int] for _, user_id in keys)

    def first(self, query: UserQuery) -> list[User]:
        """A page of a query that every user matches."""
        keys = self._sorted[query.sort.removeprefix("-")]
        if query.sort.startswith("-"):
            end = len(keys) if query.after is None else bisect_left(keys, query.after)
            page = keys[max(0, end - query.limit) : end][::-1]
        else:
            start = 0 if query.after is None else bisect_right(keys, query.after)
            page = keys[start : start + query.limit]
        return [self.users[user_id.int] for _, user_id in page]


def matches(user: User, query: UserQuery) -> bool:
    if query.role not in (None, user.role) or query.active not in (None, user.active):
        return False
    if query.q is None:
        return True
    needle = query.q.casefold()
    return needle in user.username or needle in user.email.casefold() or needle in user.name.casefold()
